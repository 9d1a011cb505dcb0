"""What earlier monitoring runs of a project said, for what changes from window to window."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from components.shared.documents.monitoring import DriftReport, MonitoringDecision, PerformanceReport
from components.shared.errors import InputError
from pipelines.runs.record import load
from pipelines.runs.report import documents


@dataclass(frozen=True)
class Look:
    """One window.

    Attributes:
        run: The id of the monitoring run.
        end: End of the window.
        drift: How it differed from the reference.
        performance: How the release performed.
        decision: What was to be done.
    """

    run: str
    end: datetime
    drift: DriftReport
    performance: PerformanceReport
    decision: MonitoringDecision

    @property
    def day(self) -> str:
        """Return the day on which the window ended."""
        return f"{self.end:%Y-%m-%d}"


def looks(folder: Path, artifacts: Mapping[str, str], most: int = 60) -> Sequence[Look]:
    """Return the windows that a run and the runs before it looked at, the oldest first.

    Of several looks at one window, the last counts. A run that ended early, or whose files are gone, is left out.

    Args:
        folder: The folder of the run, beside those of the others.
        artifacts: ``step.output`` to the path, of the run itself.
        most: How many earlier runs are read.
    """
    before = [path for path in sorted(folder.parent.glob("*/run.json")) if path.parent.name < folder.name]
    made = [_look(path.parent.name, _artifacts(path)) for path in before[-most:]]
    by_end = {look.end: look for look in (*made, _look(folder.name, artifacts)) if look is not None}
    return [by_end[end] for end in sorted(by_end)]


def _artifacts(path: Path) -> Mapping[str, str]:
    """Read what a run left; nothing of a record that is torn or of another kind."""
    try:
        return load(path).artifacts
    except (OSError, InputError):
        return {}


def _look(run: str, artifacts: Mapping[str, str]) -> Look | None:
    if "decision.outcome" not in artifacts:
        return None
    read = documents.read(artifacts)
    window, drift, performance, decision = read.window, read.drift, read.performance, read.decision
    if window is None or window.end is None or drift is None or performance is None or decision is None:
        return None
    return Look(run, datetime.fromisoformat(window.end), drift, performance, decision)
