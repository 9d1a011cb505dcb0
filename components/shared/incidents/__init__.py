"""Incidents: what monitoring found and somebody has to deal with, from its opening to its resolution."""
