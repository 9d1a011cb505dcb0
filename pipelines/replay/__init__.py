"""Months of the shipped example in minutes: requests, late labels, monitoring, and what the loop makes of it."""
