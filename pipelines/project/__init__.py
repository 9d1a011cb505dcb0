"""The project file: read it with helpful messages, or create it for a new table."""
