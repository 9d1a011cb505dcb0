"""Follow a run at Vertex AI into its record, up to its end and the reason for it."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines import runs
from pipelines.definitions import catalog
from pipelines.runs import Run, Step
from pipelines.targets.vertex import jobs, reasons
from pipelines.targets.vertex.connection import Server
from pipelines.targets.vertex.jobs import Task

if TYPE_CHECKING:
    from google.cloud.aiplatform_v1 import PipelineJob

POLL_S = 5.0
"""A project may read 300 runs a minute; a step takes minutes to get its machine."""


class Follower:
    """Brings the record of one run up to date, at each call."""

    def __init__(self, server: Server, record: Run, changed: Callable[[Step], None] = lambda step: None) -> None:
        """Follow ``record.remote``.

        Args:
            server: Where it runs.
            record: Its local record.
            changed: Receives every step whose state changed.
        """
        assert record.remote is not None
        self._server, self._record, self._id, self._changed = server, record, record.remote, changed

    def to_the_end(self, poll_s: float = POLL_S) -> None:
        """Wait until the run has ended.

        Raises:
            StepFailed: If the server does not answer any more; the run goes on there.
        """
        while not self.look():
            time.sleep(poll_s)

    def look(self) -> bool:
        """Look once; return whether the run has ended and its record is closed."""
        run = jobs.get(self._server, self._id)
        tasks = jobs.tasks(run)
        for step in self._record.steps:
            if (task := tasks.get(_name(step))) and step.state != task.state:
                step.state, step.seconds = task.state, task.seconds
                if step.state != "failed":
                    self._changed(step)
        state = run.state.name.removeprefix("PIPELINE_STATE_")
        if state not in jobs.ENDED:
            self._record.save()
            return False
        self._close(state, run, tasks)
        return True

    def artifacts(self) -> dict[str, str]:
        """Return where the artifacts of the run are: ``step.output`` -> URI."""
        tasks = jobs.tasks(jobs.get(self._server, self._id))
        return {
            f"{step.name}.{output}": uri
            for step in self._record.steps
            if _name(step) in tasks
            for output, uri in tasks[_name(step)].artifacts.items()
        }

    def keep_logs(self, name: str | None = None) -> None:
        """Fetch the log of every step that ran, or of one; those of a run that continues are fetched each time."""
        tasks = jobs.tasks(jobs.get(self._server, self._id))
        for step in self._record.steps:
            wanted = name in (None, step.name) and step.log is None and _name(step) in tasks
            if wanted and (text := self._log(tasks[_name(step)])):
                file = self._log_file(step.name)
                file.write_text(text, encoding="utf-8")
                step.log = str(file)
        if self._record.exit_code is not None:
            self._record.save()

    def _close(self, state: str, run: "PipelineJob", tasks: dict[str, Task]) -> None:
        """Close the record with exit code and reason."""
        if state == "SUCCEEDED":
            code = catalog.entry(self._record.pipeline).exit_code({s.name: s.state for s in self._record.steps})
            runs.end(self._record, runs.OK if code is None else code, None)
            return
        code, reason = self._why(state, run, tasks)
        for step in self._record.steps:
            if step.state == "failed":
                step.error = step.error or "it was ended with the run."
                self._changed(step)
        runs.end(self._record, code, reason)

    def _why(self, state: str, run: "PipelineJob", tasks: dict[str, Task]) -> tuple[int, str]:
        """Find what failed first, and say why."""
        if state == "CANCELLED":
            return runs.INTERRUPTED, "it was ended at the server."
        failed = [step for step in self._record.steps if step.state == "failed" and tasks[_name(step)].error]
        if not failed:
            said = reasons.inner(run.error.message)
            return runs.FAILED, f"Vertex AI ended the run: {said or 'it gives no reason'}."
        step = failed[0]
        task, file = tasks[_name(step)], self._log_file(step.name)
        code, sentence = reasons.ended(task.error or "", lambda: self._log(task), file, self._server.target.region)
        step.error, step.log = sentence, str(file) if file.exists() else None
        return code, sentence

    def _log(self, task: Task) -> str:
        """Fetch the log of a task's last attempt."""
        return self._server.log(task.jobs[-1]) if task.jobs else ""

    def _log_file(self, step: str) -> Path:
        return self._record.folder / "logs" / f"{step}.log"


def _name(step: Step) -> str:
    return step.name.replace("_", "-")
