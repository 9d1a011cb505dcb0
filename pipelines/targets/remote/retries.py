"""Retries of a step, which every server does by itself."""

from typing import Any

from components.shared.project import DefaultResources


def set_on(task: Any, resources: DefaultResources) -> None:
    """Let the server try a traced task again, as the project file says."""
    set_at_least(0, task, resources)


def set_at_least(least: int, task: Any, resources: DefaultResources) -> None:
    """Let the server try a traced task again, so many times at least."""
    if number := max(least, resources.retries):
        task.set_retry(
            number,
            backoff_duration=f"{resources.retry_wait_s}s",
            backoff_factor=resources.retry_factor,
            backoff_max_duration=f"{resources.retry_wait_max_s}s",
        )
