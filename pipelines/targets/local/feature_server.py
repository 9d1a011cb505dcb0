"""A feature server that belongs to this command."""

import subprocess
from dataclasses import dataclass

LOG = "feature_server.log"


@dataclass(frozen=True)
class RunningFeatureServer:
    """Where it answers, and its process."""

    url: str
    process: subprocess.Popen[bytes]

    def poll(self) -> int | None:
        """Return its exit code; None while it runs."""
        return self.process.poll()
