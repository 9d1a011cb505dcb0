"""The project file: read with helpful messages, or written for a new table."""
