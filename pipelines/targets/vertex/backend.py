"""The Vertex AI target: bring a project there, start runs, follow them, fetch what they left."""

import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.shared.errors import InputError, PerennialError
from components.shared.inference import Subject
from components.shared.project import Project
from pipelines import runs
from pipelines.definitions import compilation
from pipelines.definitions.catalog import PipelineEntry
from pipelines.project import project_file
from pipelines.runs import Run
from pipelines.targets import samples
from pipelines.targets.model import Vertex
from pipelines.targets.openlineage import observer as openlineage
from pipelines.targets.protocol import RunObserver, RunRequest, RunSummary, Schedule, Version
from pipelines.targets.remote import records, submission
from pipelines.targets.remote.artifacts import bring_documents
from pipelines.targets.remote.releasing import RemoteReleasingBackend
from pipelines.targets.remote.run import RemoteRun
from pipelines.targets.remote.schedules import named
from pipelines.targets.remote.storage import Bucket
from pipelines.targets.remote.submission import PreparedSubmission
from pipelines.targets.state import State
from pipelines.targets.vertex import jobs, placement, prices, schedules, versions
from pipelines.targets.vertex.connection import Server
from pipelines.targets.vertex.endpoint import ProjectEndpoint
from pipelines.targets.vertex.following import Follower

if TYPE_CHECKING:
    from google.cloud.aiplatform_v1 import PipelineJob

# The server's words for what has the same name on every target.
_WORDS = {"SUCCEEDED": "finished", "CANCELLED": "interrupted"}


class VertexBackend(RemoteReleasingBackend):
    """Vertex AI Pipelines in one project and region."""

    def __init__(self, name: str, target: Vertex, state: State) -> None:
        """Keep what the target file says."""
        super().__init__(name, target, state)
        self.target: Vertex = target

    @functools.cached_property
    def server(self) -> Server:
        """The connection.

        Raises:
            InputError: If the target names no project, or there are no credentials.
        """
        return Server(self.target)

    def compile(self, pipeline: PipelineEntry) -> str:
        """Compile with pinned images and the machines that the project file asks for."""
        project = project_file.read(self.state.project_file)
        references = submission.references_of(pipeline.steps, self.target, project)
        return compilation.as_text(placement.compile_(pipeline.definition, self.target, project, references))

    @contextmanager
    def start(self, request: RunRequest, observer: RunObserver) -> Iterator[RemoteRun]:
        """Create a run; it continues when the context is left."""
        prepared, bucket, described, version = self._described(request)
        durations = prices.seconds(self._records(), prepared.entry.name)
        observer.announced(str(prices.estimate(prepared.documents[0], durations, self._prices())))
        now = datetime.now(UTC)
        run_id = jobs.start(self.server, described, prepared.pipeline, now)
        record = submission.record(prepared, run_id, self.server.parent, now)
        observer.announced(f"submitted run {run_id}, version {version.name}: {jobs.link(self.server, run_id)}")
        follower = functools.partial(_follower, self.server, record)
        observer = openlineage.observed(observer, self.project, self.state.root)
        yield RemoteRun(record, request.entry, bucket, observer, self.name, follower)

    def runs(self, experiment: str | None = None, last: int = 10) -> Sequence[RunSummary]:
        """List the newest runs of the project, and bring their local records up to date."""
        for record in self._records():
            if record.exit_code is None:
                Follower(self.server, record).look()
        recorded = {run.remote: run.state for run in self._records() if run.exit_code is not None}
        listed = itertools.islice(jobs.newest(self.server, self._experiment(experiment)), last)
        return [_listed(run, recorded.get(jobs.id_of(run))) for run in listed]

    @contextmanager
    def logs(self, run: str, step: str | None = None) -> Iterator[Run]:
        """Give the record of a run, with the logs fetched from Cloud Logging where that is allowed."""
        run_id = self._find(run)
        with self._record_of(run_id) as (record, follower):
            follower.keep_logs(step)
            yield record

    @contextmanager
    def results(self, run: str) -> Iterator[Run]:
        """Give the record of a run, with its documents copied from the bucket."""
        with self._record_of(self._find(run)) as (record, follower):
            bring_documents(record, follower.artifacts, Bucket(self.target.storage))
            yield record

    def end(self, run: str) -> str:
        """End a run at the server and return its id."""
        run_id = self._find(run)
        jobs.cancel(self.server, run_id)
        return run_id

    def upload(self, pipeline: PipelineEntry, revision: str | None) -> Version:
        """Upload the compiled pipeline to the bucket; the same again does nothing."""
        prepared = self._prepared(RunRequest(pipeline=pipeline.name))
        name = revision or submission.revision()
        return versions.upload(Bucket(self.target.storage), prepared.pipeline, prepared.documents[0], name)

    def create_schedule(self, request: RunRequest, cron: str, name: str | None) -> tuple[Schedule, Version]:
        """Schedule the pipeline as it is now: its bundle and images stay until it is scheduled again."""
        schedules.check_cron(cron)
        prepared, _, described, version = self._described(request)
        filed = self._experiment(request.experiment)
        return schedules.create(self.server, name or prepared.pipeline, cron, described, filed), version

    def schedules(self, experiment: str | None = None) -> Sequence[Schedule]:
        """List the schedules of the project."""
        return schedules.listing(self.server, self._experiment(experiment))

    def pause_schedule(self, name: str, experiment: str | None = None) -> None:
        """Start nothing until the schedule is resumed."""
        schedules.pause(self.server, named(schedules.listing(self.server, self._experiment(experiment)), name))

    def resume_schedule(self, name: str, experiment: str | None = None) -> None:
        """Start runs again, from now on."""
        schedules.resume(self.server, named(schedules.listing(self.server, self._experiment(experiment)), name))

    def delete_schedule(self, name: str, experiment: str | None = None) -> None:
        """Delete a schedule; the runs that it started stay."""
        schedules.delete(self.server, named(schedules.listing(self.server, self._experiment(experiment)), name))

    look_every_s = 30.0

    @functools.cached_property
    def endpoint(self) -> ProjectEndpoint:
        """The project's endpoint; opens the registry.

        Raises:
            InputError: If the target's endpoint is none of Vertex AI.
        """
        return ProjectEndpoint(self.target.services.endpoint, self.project, self.open_registry)

    def ask(
        self,
        rows: Sequence[Mapping[str, Any]] | None,
        *,
        explains: bool = False,
        interval: float | None = None,
        subject: Subject | None = None,
    ) -> dict[str, Any]:
        """Ask the project's endpoint, as a client with Google's credentials does."""
        if subject is not None:
            self._lacks("lookup of features", "send the features")
        if explains:
            self._lacks("route for explanations", "ask a local endpoint")
        return self.endpoint.ask(samples.last(self.state)[:1] if rows is None else rows, interval)

    def endpoint_state(self) -> str:
        """Say in a few words which release answers, or why that is not known."""
        try:
            return f"{self.endpoint.state()}, at {self.target.services.endpoint.partition('?')[0]}"
        except PerennialError as problem:
            return f"unknown: {problem}"

    def roll_back(self, version: str | None, observer: RunObserver) -> str:
        """Release a version of Model Registry again."""
        before = self.endpoint_state()
        answering = self.endpoint.roll_back(version)
        self.audit.record("rollback", {"version": answering, "from": before})
        return answering

    def _described(self, request: RunRequest) -> "tuple[PreparedSubmission, Bucket, PipelineJob, Version]":
        """Compile a pipeline, bring what it reads into the bucket, and describe its run."""
        prepared, server, bucket = self._prepared(request), self.server, Bucket(self.target.storage)
        parameters = submission.arguments(prepared, bucket, request)
        ir, filed = prepared.documents[0], self._experiment(request.experiment)
        described = jobs.job(server, ir, parameters, prepared.entry, filed)
        return prepared, bucket, described, versions.upload(bucket, prepared.pipeline, ir, submission.revision())

    def _prepared(self, request: RunRequest) -> PreparedSubmission:
        target = self.target
        if not target.storage.uri.startswith("gs://"):
            raise InputError(
                f"storage.uri of the target is {target.storage.uri!r}; Vertex AI reads gs://bucket/prefix only. "
                "Correct it in the target file."
            )
        if not target.services.registry.startswith(("http://", "https://")):
            raise InputError(
                f"services.registry of the target is {target.services.registry!r}, which no step reaches; expected the "
                "address of an MLflow server."
            )

        def place(
            entry: PipelineEntry, project: Project, references: Mapping[str, str], always_run: tuple[str, ...]
        ) -> list[dict[str, Any]]:
            return [placement.compile_(entry.definition, target, project, references, always_run)]

        return submission.prepare(self.state, target, request, place)

    def _prices(self) -> prices.Prices:
        return prices.read(self.state.root / self.target.prices if self.target.prices else prices.SHIPPED)

    def _find(self, name: str) -> str:
        """Return the id of the run that a user means; an unknown one is asked for as it is."""
        filed = self._experiment(None)

        def ids() -> Iterator[str]:
            return map(jobs.id_of, jobs.newest(self.server, filed))

        return records.find(name, self.state.runs, self.server.parent, ids) or name

    def _records(self) -> Iterator[Run]:
        return records.at(self.state.runs, self.server.parent)

    @contextmanager
    def _record_of(self, run_id: str) -> Iterator[tuple[Run, Follower]]:
        def entry() -> PipelineEntry:
            return jobs.entry_of(jobs.get(self.server, run_id))

        with records.record_of(run_id, self.state.runs, self.server.parent, entry) as record:
            follower = Follower(self.server, record)
            if record.exit_code is None:
                follower.look()
            yield record, follower


def _follower(server: Server, record: Run, changed: Any, announce: Any) -> Follower:
    """Make what follows a run; Vertex AI says in a step's state all that there is to announce."""
    return Follower(server, record, changed)


def _listed(run: "PipelineJob", recorded: str | None) -> RunSummary:
    state = run.state.name.removeprefix("PIPELINE_STATE_")
    seconds = (run.end_time - run.create_time).total_seconds() if run.end_time else None
    if state == "SUCCEEDED" and recorded is None:
        entry, tasks = jobs.entry_of(run), jobs.tasks(run)
        states = {step: tasks[name].state for step in entry.steps if (name := step.replace("_", "-")) in tasks}
        code = entry.exit_code(states)
        recorded = Run("", "", "", Path(), "", [], exit_code=runs.OK if code is None else code).state
    return RunSummary(
        jobs.id_of(run), run.display_name, recorded or _WORDS.get(state, state.lower()), run.create_time, seconds
    )
