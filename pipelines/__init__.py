"""How steps are joined into pipelines, and where pipelines run."""

__version__ = "0.2.0"
