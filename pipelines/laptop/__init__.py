"""The laptop target: compiled pipelines as processes, each task in the virtualenv of its image, without Docker."""
