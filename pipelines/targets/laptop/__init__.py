"""The laptop target: each task a process in the virtualenv of its image, without Docker."""
