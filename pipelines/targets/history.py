"""The runs of a project as they are now: the record of a run whose command was killed still says that it is running."""

from collections.abc import Callable, Iterator

from components.shared.errors import InputError
from pipelines import runs
from pipelines.runs import Run
from pipelines.targets import state as states
from pipelines.targets.state import State


def records(state: State, unreadable: Callable[[InputError], None] = lambda error: None) -> Iterator[Run]:
    """Yield the records of a project, the newest first; a run that was killed is interrupted.

    Nothing is written: the next run closes these records.

    Args:
        state: The project's folders. A run on this machine continues only while its command holds the project's lock.
        unreadable: Receives the error for each record that cannot be read; that record is left out.
    """
    may_run = states.holder(state) == "run"
    for run in runs.records(state.runs, unreadable):
        if run.exit_code is None and run.remote is None:
            if not may_run:
                runs.interrupt(run)
            # One run at a time holds the lock: the older ones were killed.
            may_run = False
        yield run
