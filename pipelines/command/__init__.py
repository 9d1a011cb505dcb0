"""The command: its verbs and what it shows on a terminal."""
