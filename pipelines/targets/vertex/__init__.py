"""Vertex AI Pipelines, which Google also sells as part of the Gemini Enterprise Agent Platform."""
