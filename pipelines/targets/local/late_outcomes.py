"""What labels and outcomes say of a release, read from the project's folders when they have changed."""

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from components.shared.errors import StepFailed
from components.shared.project import Project
from components.shared.release.driver import LateOutcomes
from components.shared.release.journal import ReleaseJournal
from components.shared.release.outcomes import PairedOutcomes
from components.shared.release.trial import Arms, Trial
from pipelines.targets.state import State

_AT_MOST_EVERY_S = 60.0
_ANY_TIME = timedelta(days=36_500)


class LateOutcomesReader:
    """Counts the rows of a release again when labels or outcomes were added, or a minute later: the log grows, too.

    Args:
        project: Its label has the delay.
        state: Where log, labels and outcomes are.
        timer_s: A monotonic clock in seconds.
    """

    def __init__(self, project: Project, state: State, timer_s: Callable[[], float] = time.monotonic) -> None:
        self._project, self._state, self._timer_s = project, state, timer_s
        self._seen: tuple[str, ...] = ()
        self._counted_s = float("-inf")
        self._counts: PairedOutcomes | Arms | None = None

    def __call__(self, journal: ReleaseJournal, now: datetime) -> LateOutcomes | None:
        """Return what they say; None before the release is exposed."""
        if journal.exposure is None or journal.former is None:
            return None
        store = self._store(journal)
        added = sorted(path.name for path in store.glob("*.parquet"))
        seen = (journal.version, journal.former, str(store), *added)
        if seen != self._seen or self._timer_s() - self._counted_s >= _AT_MOST_EVERY_S:
            # Also what fails is tried again only after a while.
            self._seen, self._counted_s = seen, self._timer_s()
            self._counts = None
            self._counts = self._safely_counted(journal, store)
        if journal.plan.trial is None or not isinstance(self._counts, Arms):
            return self._counts if isinstance(self._counts, PairedOutcomes) else None
        from components.shared.release import looks

        return looks.looked(journal.plan.trial, journal.exposure.trial or Trial(), self._counts, now)

    def _safely_counted(self, journal: ReleaseJournal, store: Path) -> PairedOutcomes | Arms:
        """Count; what goes wrong with files that others rewrite is a sentence, and the next look tries again."""
        import duckdb

        try:
            return self._count(journal, store)
        except (duckdb.Error, OSError, ValueError) as error:
            reason = " ".join(str(error).split())[:200].rstrip(".")
            raise StepFailed(f"the log and labels cannot be read now ({reason}); the release waits.") from error

    def _store(self, journal: ReleaseJournal) -> Path:
        trial = journal.plan.trial
        return self._state.outcomes if trial is not None and trial.metric == "outcomes" else self._state.labels

    def _count(self, journal: ReleaseJournal, store: Path) -> PairedOutcomes | Arms:
        # DuckDB and pyarrow are of no use to the other commands.
        from components.shared.inference_log import arms, pairs

        assert journal.exposure is not None and journal.former is not None
        log, name, task, since = (
            self._state.inference_log,
            self._project.name,
            self._project.task,
            journal.exposure.began,
        )
        delay = timedelta(days=self._project.label.delay_days)
        versions = {"champion": journal.former, "candidate": journal.version}
        if journal.plan.trial is None:
            return pairs.count(log, store, model=name, task=task, since=since, delay=delay, **versions)
        if store == self._state.outcomes:
            # A figure is known when it is added, however long after the answer.
            return arms.count(
                log, store, model=name, task=None, since=since, delay=timedelta(0), reach=_ANY_TIME, **versions
            )
        return arms.count(log, store, model=name, task=task, since=since, delay=delay, reach=delay, **versions)
