"""Pipelines on a Kubeflow Pipelines server: what only a cluster knows of them, and everything that asks the server."""
