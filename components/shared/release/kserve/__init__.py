"""Releases into a Kubernetes namespace that KServe watches."""
