"""Sends the events of a run to a file or a server, as the variables of OpenLineage's own clients say."""

import contextlib
import functools
import logging
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from components.shared.project import Project
from pipelines.definitions import compilation
from pipelines.images import lineage
from pipelines.runs import Run, Step
from pipelines.targets.openlineage import wiring
from pipelines.targets.protocol import RunObserver

if TYPE_CHECKING:
    from openlineage.client import OpenLineageClient
    from openlineage.client.event_v2 import RunEvent

    from pipelines.targets.openlineage.events import RunEvents

_PREFIX = "OPENLINEAGE"
_NAMESPACE, _DISABLED = f"{_PREFIX}_NAMESPACE", f"{_PREFIX}_DISABLED"
_PRODUCER = "urn:perennial"


def observed(observer: RunObserver, project: Project, root: Path) -> RunObserver:
    """Return an observer that also sends events, if a variable of OpenLineage is set and it is not disabled.

    Args:
        observer: Gets everything that it got before.
        project: The project of the run.
        root: Its folder.
    """
    return LineageObserver(observer, project, root) if _is_on(os.environ) else observer


def _is_on(environment: Mapping[str, str]) -> bool:
    is_disabled = environment.get(_DISABLED, "").strip().lower() == "true"
    return not is_disabled and any(name.startswith(_PREFIX) for name in environment)


class LineageObserver(RunObserver):
    """Hands everything on, and sends an event of what happened; a run never fails or waits for long because of it."""

    def __init__(self, observer: RunObserver, project: Project, root: Path) -> None:
        self._observer, self._project, self._root = observer, project, root
        self._client: OpenLineageClient | None = None
        self._events: RunEvents | None = None

    def announced(self, sentence: str) -> None:
        """Hand it on."""
        self._observer.announced(sentence)

    def started(self, run: Run) -> None:
        """Connect, and send that the run starts."""
        self._observer.started(run)
        # Half a second of imports that only those pay who collect events.
        from openlineage.client import OpenLineageClient

        from pipelines.targets.openlineage.events import RunEvents

        try:
            self._client = OpenLineageClient()
            self._events = RunEvents(
                namespace=os.environ.get(_NAMESPACE, "perennial"),
                producer=_PRODUCER,
                repository=lineage.remote(),
                project=self._project,
                root=self._root,
                wiring=wiring.inputs(compilation.symbolic(run.pipeline)),
                run=run,
            )
        except Exception as error:  # what the transports raise has no common base
            self._give_up(error)
            return
        self._send(self._events.of_run)

    def changed(self, step: Step) -> None:
        """Send that a step starts, or how it ended."""
        self._observer.changed(step)
        if self._events is not None:
            self._send(functools.partial(self._events.of_step, step))

    def ended(self, run: Run) -> None:
        """Send how the run ended; one that is only no longer followed has not ended."""
        self._observer.ended(run)
        if self._events is not None and run.exit_code is not None:
            self._send(self._events.of_run)
        if self._client is not None:
            with contextlib.suppress(Exception):
                self._client.close(timeout=5.0)

    def _send(self, described: "Callable[[datetime], RunEvent | None]") -> None:
        if self._client is None:
            return
        try:
            event = described(_now())
            if event is not None:
                self._client.emit(event)
        except Exception as error:  # as above
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        """Send nothing more: a server that does not answer would hold up every step."""
        self._client = None
        reason = " ".join(str(error).split())[:200].rstrip(".")
        logging.getLogger(__name__).debug("OpenLineage failed", exc_info=error)
        self._observer.announced(f"this run sends no further OpenLineage events ({type(error).__name__}: {reason}).")


def _now() -> datetime:
    return datetime.now(UTC)
