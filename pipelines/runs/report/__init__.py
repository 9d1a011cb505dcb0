"""One HTML page per run that opens offline: what went in, what came out, and why it was released or not."""

from pipelines.runs.report.page import render

__all__ = ["render"]
