"""Follow a run on a cluster into its record, up to its end and the reason for it."""

import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from pipelines import runs
from pipelines.definitions import catalog
from pipelines.runs import Run, Step
from pipelines.targets.kfp import artifacts, reasons
from pipelines.targets.kfp import workflow as manifest
from pipelines.targets.kfp.connection import Server
from pipelines.targets.kfp.workflow import Pod, Workflow

POLL_S = 2.0
ENDED = {"SUCCEEDED", "FAILED", "CANCELED", "SKIPPED"}


class Follower:
    """Brings the record of one run up to date, at each call."""

    def __init__(
        self,
        server: Server,
        record: Run,
        changed: Callable[[Step], None],
        announce: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        """Follow ``record.remote``.

        Args:
            server: Where it runs.
            record: Its local record.
            changed: Told of every step whose state has.
            announce: Told in a sentence of a pod that can't start, while it is tried on.
        """
        assert record.remote is not None
        self._server, self._record, self._id = server, record, record.remote
        self._changed, self._announce = changed, announce
        self._waiting: dict[str, float] = {}
        self._said: dict[str, str] = {}
        self._gave_up: str | None = None
        self._canceled = False

    def to_the_end(self, poll_s: float = POLL_S) -> None:
        """Wait until the run has ended; a pod that can't start ends it after the target's ``start_deadline_s``.

        Raises:
            StepFailed: If the server can't be reached any more; the run goes on there.
        """
        while not self.look():
            time.sleep(poll_s)

    def look(self) -> bool:
        """Look once; return whether the run has ended and its record is closed."""
        with self._server.asked("show a run") as client:
            run = client.get_run(self._id)
        state = run.state
        self._canceled = state == "CANCELED" or any(past.state == "CANCELING" for past in run.state_history or ())
        workflow = self.workflow()
        for step in self._record.steps:
            self._note(step, workflow.task(step.name))
        if state in ENDED:
            self._close(state, workflow)
            return True
        self._record.save()
        self._watch_starts(workflow)
        return False

    def workflow(self) -> Workflow:
        """Read the run's workflow."""
        with self._server.asked("show a run's workflow"):
            return manifest.read(self._server.get(f"/apis/v1beta1/runs/{quote(self._id)}"))

    def artifacts(self) -> dict[str, str]:
        """Return where the artifacts of the run are: ``step.output`` -> URI."""
        return artifacts.located(self.workflow())

    def log(self, pod: Pod) -> str:
        """Fetch the log of a pod; empty where there is none, or none any more."""
        import kfp_server_api

        try:
            path = f"/apis/v1alpha1/runs/{quote(self._id)}/nodes/{quote(pod.name)}/log"
            text = self._server.get(path).decode("utf-8", "replace")
        except kfp_server_api.ApiException:
            return ""
        # The server may say in the log's place why it has none.
        return "" if text.startswith('{"error_message":') else text

    def terminate(self) -> None:
        """End the run at the server."""
        with self._server.asked("end a run") as client:
            client.terminate_run(self._id)

    def _note(self, step: Step, task: manifest.Task) -> None:
        if step.state != task.state:
            step.state, step.seconds = task.state, task.seconds
            if step.state != "failed":
                self._changed(step)

    def _watch_starts(self, workflow: Workflow) -> None:
        """Say of a pod that it can't start, and after the deadline end the run."""
        now, waiting = time.monotonic(), {pod.node: pod for pod in workflow.pods if pod.waits}
        self._waiting = {node: self._waiting.get(node, now) for node in waiting}
        for node, pod in waiting.items():
            why = reasons.waiting(pod)
            step = self._step_of(node)
            if why and self._said.get(node) != why:
                self._said[node] = why
                self._announce(f"{_task_of(node)} waits: {why}")
            if now - self._waiting[node] > self._server.target.start_deadline_s and not self._gave_up:
                deadline = self._server.target.start_deadline_s
                self._gave_up = f"{why or 'its pod did not start'}, not within start_deadline_s of {deadline:g} s."
                if step:
                    step.error = self._gave_up
                self.terminate()

    def _close(self, state: str, workflow: Workflow) -> None:
        """Close the record with exit code and reason."""
        if state == "SUCCEEDED":
            code = catalog.entry(self._record.pipeline).exit_code({s.name: s.state for s in self._record.steps})
            runs.end(self._record, runs.OK if code is None else code, None)
            return
        code, reason = self._why(state, workflow)
        for step in self._record.steps:
            if step.state == "failed":
                step.error = step.error or "it was ended with the run."
                self._changed(step)
        runs.end(self._record, code, reason)

    def _why(self, state: str, workflow: Workflow) -> tuple[int, str]:
        """Find what failed first, and say why."""
        if self._gave_up:
            return runs.FAILED, self._gave_up
        if self._canceled:
            # The server's last word is FAILED, and its pods say that they exceeded a deadline.
            return runs.INTERRUPTED, "it was ended at the server."
        failed = [pod for pod in workflow.pods if pod.failed]
        if not failed:
            return runs.FAILED, f"{(workflow.message or f'it is {state}').rstrip('.')}."
        # The last attempt of what failed first; what came after failed with it.
        first = next(pod for pod in failed)
        pod = [pod for pod in failed if _task_of(pod.node) == _task_of(first.node)][-1]
        step = self._step_of(pod.node)
        log_file = self._record.folder / "logs" / f"{step.name if step else _task_of(pod.node)}.log"
        code, sentence = reasons.ended(pod, lambda: self.log(pod), log_file)
        if step:
            step.state, step.error = "failed", sentence
            step.log = str(log_file) if log_file.exists() else None
            return code, sentence
        return code, f"{_task_of(pod.node)}: {sentence}"

    def _step_of(self, node: str) -> Step | None:
        task = _task_of(node)
        return next((step for step in self._record.steps if step.name.replace("_", "-") == task), None)


def keep_logs(follower: Follower, record: Run, step: str | None = None) -> None:
    """Fetch the log of every step that ran, or of one; those of a run that continues are fetched each time."""
    workflow = follower.workflow()
    for finished in record.steps:
        pods = workflow.task(finished.name).pods if step in (None, finished.name) and finished.log is None else ()
        if pods and (text := follower.log(pods[-1])):
            finished.log = str(_write(record.folder / "logs" / f"{finished.name}.log", text))
    if record.exit_code is not None:
        record.save()


def _write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def _task_of(node: str) -> str:
    """Name the task that a node belongs to.

    >>> [_task_of(name) for name in ("root.split-driver", "root.split.executor", "root.a.gate.executor(0)", "root")]
    ['split', 'split', 'gate', 'root']
    """
    parts = node.split(".")
    if parts[-1].startswith("executor") and len(parts) > 1:
        return parts[-2]
    return parts[-1].removesuffix("-driver")
