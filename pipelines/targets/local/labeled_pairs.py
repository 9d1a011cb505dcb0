"""What labels say of a shadow, read from the project's log and labels as seldom as they change."""

import time
from collections.abc import Callable
from datetime import timedelta

from components.shared.project import Project
from components.shared.release.journal import ReleaseJournal
from components.shared.release.outcomes import PairedOutcomes
from pipelines.targets.state import State

_AT_MOST_EVERY_S = 60.0


class LabeledPairs:
    """Counts the pairs of a release again when labels were added, or a minute later: the log grows, too.

    Args:
        project: Its label has the delay.
        state: Where log and labels are.
        timer_s: A monotonic clock in seconds.
    """

    def __init__(self, project: Project, state: State, timer_s: Callable[[], float] = time.monotonic) -> None:
        self._project, self._state, self._timer_s = project, state, timer_s
        self._seen: tuple[str, ...] = ()
        self._counted_s = float("-inf")
        self._outcomes = PairedOutcomes()

    def __call__(self, journal: ReleaseJournal) -> PairedOutcomes | None:
        """Return the counts; None before the release is exposed."""
        if journal.exposure is None or journal.former is None:
            return None
        added = tuple(sorted(path.name for path in self._state.labels.glob("*.parquet")))
        release = (journal.version, journal.former, *added)
        if release != self._seen or self._timer_s() - self._counted_s >= _AT_MOST_EVERY_S:
            # DuckDB and pyarrow are of no use to the other commands.
            from components.shared.inference_log import pairs

            self._outcomes = pairs.count(
                self._state.inference_log,
                self._state.labels,
                model=self._project.name,
                task=self._project.task,
                champion=journal.former,
                candidate=journal.version,
                since=journal.exposure.began,
                delay=timedelta(days=self._project.label.delay_days),
            )
            self._seen, self._counted_s = release, self._timer_s()
        return self._outcomes
