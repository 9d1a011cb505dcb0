"""Pipelines on this machine: kfp.local's own orchestrator, and what the laptop and the Docker target share."""
