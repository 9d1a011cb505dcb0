"""Where the incidents of a project are, on this machine or as a copy of a bucket's."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class IncidentFolders:
    """The folders of incidents and of what is told of them.

    Attributes:
        incidents: The incidents, a file each.
        outbox: Messages that were not delivered yet.
        files: What the path of a sink of the kind ``file`` is relative to.
    """

    incidents: Path
    outbox: Path
    files: Path
