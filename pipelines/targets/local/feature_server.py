"""A feature server that belongs to this command."""

from collections.abc import Callable
from dataclasses import dataclass

LOG = "feature_server.log"


@dataclass(frozen=True)
class RunningFeatureServer:
    """Where it answers, and ``poll``, which returns its exit code, or None while it runs."""

    url: str
    poll: Callable[[], int | None]
