"""Releases to an endpoint of Vertex AI, with the model in its Model Registry."""
