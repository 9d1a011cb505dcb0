"""Retries of a step, which every server does by itself."""

from typing import Any

from components.shared.project import DefaultResources


def set_on(task: Any, resources: DefaultResources) -> None:
    """Let the server try a traced task again, as the project file says."""
    if resources.retries:
        task.set_retry(
            resources.retries,
            backoff_duration=f"{resources.retry_wait_s}s",
            backoff_factor=resources.retry_factor,
            backoff_max_duration=f"{resources.retry_wait_max_s}s",
        )
