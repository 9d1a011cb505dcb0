"""Run pipelines on this machine: what the laptop and the Docker target have in common."""

import dataclasses
import functools
import threading
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.shared import registry
from components.shared.errors import InputError
from components.shared.incidents.folders import IncidentFolders
from components.shared.inference import Subject
from components.shared.release import endpoint_folder, rollback, routing
from components.shared.release import local as local_release
from components.shared.release.driver import ReleaseDriver
from components.shared.release.journal import ReleaseJournal
from pipelines import runs
from pipelines.audit import recording
from pipelines.audit.recording import AuditLog
from pipelines.runs import Run, report
from pipelines.targets import history, samples, state
from pipelines.targets.local import endpoint, feature_server, housekeeping, preparing, unchanged
from pipelines.targets.local.feature_server import RunningFeatureServer
from pipelines.targets.local.late_outcomes import LateOutcomesReader
from pipelines.targets.local.preparing import PreparedRun, RunPlan
from pipelines.targets.local.runtime import Runtime
from pipelines.targets.local.seam import Tasks
from pipelines.targets.model import Docker, Laptop
from pipelines.targets.openlineage import observer as openlineage
from pipelines.targets.protocol import Collected, Forgotten, RunObserver, RunRequest, RunSummary
from pipelines.targets.releasing import ReleasingBackend
from pipelines.targets.state import State

if TYPE_CHECKING:
    import pyarrow as pa

    from components.shared.label_store import AddedLabels


@dataclass(frozen=True)
class LocalRun:
    """A run on this machine; it happens while it is followed."""

    record: Run
    prepared: PreparedRun
    tasks: Tasks
    plan: RunPlan
    observer: RunObserver

    def follow(self) -> Path:
        """Run the pipeline to its end; see ``StartedRun.follow``."""
        folders = self.prepared.state
        self.observer.started(self.record)
        if self.prepared.entry.releases:
            # The registry keeps the head of the audit log at the end; its import takes seconds.
            threading.Thread(target=registry.load_library, daemon=True).start()
        try:
            self.prepared.execute(self.record, self.tasks, self.observer.changed, self.plan)
        finally:
            self.observer.ended(self.record)
            local_release.recover(folders.endpoint, folders.registry_uri)
            page = report.render(self.record.as_dict(), self.record.folder, self.prepared.entry.sections)
            self._note(AuditLog(folders.audit, folders.endpoint, self.record.project))
        return page

    def _note(self, log: AuditLog) -> None:
        """Write into the audit log what the run decided, if it came to that."""
        for kind, details in recording.decided(self.record):
            releases = self.prepared.entry.releases
            log.record(kind, details, registry.open(self.prepared.state.registry_uri) if releases else None)


@dataclass(frozen=True)
class RepeatedRun:
    """A run that has nothing to do, because an earlier one has its results."""

    record: Run
    prepared: PreparedRun
    original: Run
    observer: RunObserver

    def follow(self) -> Path:
        """Take over the results of the earlier run; see ``StartedRun.follow``."""
        self.observer.started(self.record)
        unchanged.repeat(self.record, self.original)
        for step in self.record.steps:
            if step.state == "cached":
                self.observer.changed(step)
        self.observer.ended(self.record)
        return report.render(self.record.as_dict(), self.record.folder, self.prepared.entry.sections)


@dataclass(frozen=True)
class LocalServer:
    """A model server in the foreground of this command."""

    running: endpoint.Running
    features: RunningFeatureServer | None = None

    @property
    def addresses(self) -> str:
        """REST and gRPC."""
        return f"REST {self.running.server.rest_url}  gRPC {self.running.server.grpc_address}"

    @property
    def ports(self) -> tuple[int, int]:
        """REST and gRPC."""
        rest, grpc = (address.rpartition(":")[2] for address in (self.running.server.rest_url, self._grpc_address))
        return int(rest), int(grpc)

    def poll(self) -> int | None:
        """Return its exit code; None while it, and the feature server that it asks, run."""
        if (code := self.running.process.poll()) is not None or self.features is None:
            return code
        # Whatever ended the feature server, nobody told this one to end.
        return None if (code := self.features.poll()) is None else code or 1

    @property
    def _grpc_address(self) -> str:
        address = self.running.server.grpc_address
        assert address is not None
        return address


class LocalBackend(ReleasingBackend):
    """A target on this machine: one run of a project at a time, which ends with the command."""

    is_remote = False

    def __init__(self, name: str, target: Laptop | Docker, state: State) -> None:
        """Keep what the target file says.

        Raises:
            InputError: If its endpoint is not a folder.
        """
        super().__init__(name, target, state)
        if "://" in target.services.endpoint:
            raise InputError(
                f"services.endpoint is {target.services.endpoint!r}, expected a folder on this machine; name a folder, "
                "or submit to a cluster."
            )

    def endpoint_state(self) -> str:
        """Say in a few words which release answers, and where, or why none does."""
        server, active = endpoint_folder.server(self.state.endpoint), routing.answering(self.state.endpoint)
        where = (
            f"at {server.rest_url} (process {server.pid})" if server else "not running; start it with 'perennial serve'"
        )
        return f"{'release ' + active if active else 'no release yet'}, {where}"

    @abstractmethod
    def runtime(self, names: Iterable[str], announce: Callable[[str], None]) -> Runtime:
        """Build what is missing to run steps, or ``serving``.

        Args:
            names: Steps, or ``serving``.
            announce: Receives a sentence for whatever takes a while.

        Raises:
            InputError: If the platform or the target is not valid.
            StepFailed: If a virtualenv or an image cannot be built, or no Docker engine answers.
        """

    def _planned(self, prepared: PreparedRun, request: RunRequest) -> tuple[RunPlan, Run | None]:
        """Return the plan of a run, and the earlier run that it would only repeat.

        Another window over tables that brought nothing new since an earlier run would only give an equal model.
        """
        if request.train_since is not None:
            everything = prepared.plan(dataclasses.replace(request, train_since=None))
            if (original := self._original(everything)) is not None:
                return everything, original
        plan = prepared.plan(request)
        return plan, self._original(plan)

    @contextmanager
    def start(self, request: RunRequest, observer: RunObserver) -> Iterator[LocalRun | RepeatedRun]:
        """Prepare a run and hold the project's lock and an endpoint until the context is left.

        A run that would only repeat an earlier one needs no endpoint and starts none.
        """
        observer = openlineage.observed(observer, self.project, self.state.root)
        prepared = preparing.prepare(self.state, request.entry, self.runtime, observer.announced)
        with state.exclusive(self.state, "run", wait=request.wait_for_lock):
            self.state.create()
            local_release.recover(self.state.endpoint, self.state.registry_uri)
            runs.settle(self.state.runs)
            plan, original = self._planned(prepared, request)
            record = prepared.record(datetime.now(UTC))
            if original is not None:
                yield RepeatedRun(record, prepared, original, observer)
                return
            with (
                self._server(prepared.runtime, request.entry.releases),
                prepared.runtime.tasks(record.id) as tasks,
            ):
                yield LocalRun(record, prepared, tasks, plan, observer)

    def _original(self, plan: RunPlan) -> Run | None:
        """Return the earlier run that a run would only repeat; None if there is none, or every step is to run."""
        if plan.registry is None or plan.key is None or plan.cache is None:
            return None
        return unchanged.earlier(runs.records(self.state.runs), plan.key, plan.registry, self.state.endpoint)

    def runs(self, experiment: str | None = None, last: int = 10) -> Sequence[RunSummary]:
        """List the newest runs on this machine; those that were submitted to a server are listed there."""
        if experiment is not None:
            self._lacks("experiments", "leave --experiment out")
        local = (run for run in history.records(self.state) if run.remote is None)
        return [_summary(run) for run, _ in zip(local, range(last), strict=False)]

    @contextmanager
    def logs(self, run: str, step: str | None = None) -> Iterator[Run]:
        """Give the record of a run; its logs are on this machine already."""
        matching = [
            record
            for record in history.records(self.state)
            if record.id.startswith(run) or (record.remote or "").startswith(run)
        ]
        if not matching:
            raise InputError(f"there is no run {run!r}; 'perennial runs --target {self.name}' lists them.")
        if len(matching) > 1:
            ids = sorted(record.id for record in matching)
            raise InputError(f"{run!r} is the beginning of several runs: {ids}; write more of it.")
        if matching[0].remote:
            raise InputError(f"the run {run!r} is on a cluster; name its target, such as --target kfp.")
        yield matching[0]

    def results(self, run: str) -> AbstractContextManager[Run]:
        """Give the record of a run; all it wrote is on this machine already."""
        return self.logs(run)

    def ask(
        self,
        rows: Sequence[Mapping[str, Any]] | None,
        *,
        explains: bool = False,
        interval: float | None = None,
        subject: Subject | None = None,
    ) -> dict[str, Any]:
        """Ask the local endpoint; start it for the question where none runs."""
        folder = self.state.endpoint
        local_release.recover(folder, self.state.registry_uri)
        if routing.answering(folder) is None:
            raise InputError(samples.why_nothing_answers(self.state))
        is_probe = rows is None
        rows = samples.last(self.state)[:1] if rows is None else rows
        ask = functools.partial(
            endpoint.ask, folder, rows, explains=explains, interval=interval, subject=subject, is_probe=is_probe
        )
        if endpoint.find(folder):
            return ask()
        runtime = self._serving_runtime(lambda sentence: None, looks_up=subject is not None)
        with (
            self._feature_server(runtime, looks_up=subject is not None) as features,
            runtime.serve(folder, grpc_port=None, options=[*self._server_options(), *self._lookups(features)]),
        ):
            return ask()

    @contextmanager
    def serve(
        self, observer: RunObserver, *, host: str, port: int, grpc_port: int, access: Sequence[str] = ()
    ) -> Iterator[LocalServer]:
        """Start the endpoint of the project in the foreground."""
        self.state.create()
        local_release.recover(self.state.endpoint, self.state.registry_uri)
        runtime = self._serving_runtime(observer.announced)
        with self._feature_server(runtime) as features:
            options = [*self._server_options(), *self._lookups(features), *access]
            folder = self.state.endpoint
            with runtime.serve(folder, host=host, port=port, grpc_port=grpc_port, options=options) as running:
                yield LocalServer(running, features)

    def _serving_runtime(self, announce: Callable[[str], None], *, looks_up: bool = True) -> Runtime:
        """Build what serves models, and Feast's server beside it where features are to be looked up."""
        with_features = looks_up and self.project.serving.online_features
        return self.runtime(["serving", "materialization"] if with_features else ["serving"], announce)

    @contextmanager
    def _feature_server(self, runtime: Runtime, *, looks_up: bool = True) -> Iterator[RunningFeatureServer | None]:
        """Start Feast's feature server where features are to be looked up."""
        if not looks_up or not self.project.serving.online_features:
            yield None
            return
        with runtime.feature_server(self.state.online_store, self.state.endpoint / feature_server.LOG) as server:
            yield server

    def _lookups(self, features: RunningFeatureServer | None) -> list[str]:
        return [] if features is None else self.project.lookups(features.url)

    def roll_back(self, version: str | None, observer: RunObserver) -> str:
        """Release a former version from the endpoint's folder; a server is started if none runs."""
        folder, registry_uri = self.state.endpoint, self.state.registry_uri
        with state.exclusive(self.state, "rollback", wait=False):
            local_release.recover(folder, registry_uri)
            if version is None and (waiting := local_release.waiting(folder)) is not None and waiting.former:
                self.release_driver().abort("rolled back")
                self.audit.record("release aborted", {"version": waiting.version, "reason": "rolled back"})
                return waiting.former
            release, before = rollback.former_release(folder, version), routing.answering(folder)
            client = registry.open(registry_uri)
            if endpoint.find(folder):
                rollback.roll_back(folder, client, release)
            else:
                serving = self.runtime(["serving"], observer.announced)
                with serving.serve(folder, grpc_port=None, options=self._server_options()):
                    rollback.roll_back(folder, client, release)
            self.audit.record("rollback", {"version": release.version, "from": before}, client)
        return release.version

    def release_driver(self) -> ReleaseDriver:
        """Return what goes on with a release that waits; opens the registry."""
        reader = LateOutcomesReader(self.project, self.state)
        return local_release.driver(self.state.endpoint, registry.open(self.state.registry_uri), outcomes=reader)

    def release_under_way(self) -> ReleaseJournal | None:
        """Return the release in the endpoint's folder."""
        return local_release.under_way(self.state.endpoint)

    def recover_release(self) -> None:
        """Finish or roll back the release in the endpoint's folder."""
        local_release.recover(self.state.endpoint, self.state.registry_uri)

    @property
    def audit(self) -> AuditLog:
        """The project's audit log."""
        return AuditLog(self.state.audit, self.state.endpoint, self.project.name)

    def _server_options(self) -> list[str]:
        """Return the arguments of the server that the project file decides: what it explores, trusts and logs."""
        monitoring = self.project.monitoring
        options = [f"--explore={decision}={share}" for decision, share in self.project.explored.items()]
        options += [f"--signed-by={key}" for key in self.project.release.signed_by]
        if monitoring.access_log:
            options.append(f"--access-log={self.state.endpoint / endpoint.ACCESS_LOG}")
        if not monitoring.log:
            return options
        redacted = [f"--log-redact={feature}" for feature in monitoring.redact]
        return [*options, f"--log-dir={self.state.inference_log}", f"--log-sample={monitoring.log_sample}", *redacted]

    @contextmanager
    def _server(self, runtime: Runtime, needed: bool) -> Iterator[None]:
        """Provide an endpoint while a run may need it: the running one, or one started during the first steps."""
        folder = self.state.endpoint
        if not needed or endpoint.find(folder):
            yield
            return
        with ThreadPoolExecutor(1) as starter:
            starting = starter.submit(runtime.serve, folder, options=self._server_options())
            try:
                yield
            finally:
                starting.result().stop()

    def add_labels(self, labels: "pa.Table", now: datetime) -> "AddedLabels":
        """Add them to the project's folder."""
        from components.shared import label_store

        self.state.create_folder()
        return label_store.add(self.state.labels, labels, now)

    def forget(self, entities: Sequence[str], now: datetime) -> Forgotten:
        """Remove it from the project's folder."""
        from components.shared import label_store
        from components.shared.inference_log import compaction

        rows = compaction.forget(self.state.inference_log, entities, now)
        stores = (self.state.labels, self.state.outcomes)
        labels = sum(label_store.forget(folder, entities, rows) for folder in stores)
        return Forgotten(len(rows), labels, rest="'perennial monitor'")

    def collect(self, keep: int, *, dry_run: bool, wait: bool) -> Collected:
        """Remove it from the project's folder."""
        with state.exclusive(self.state, "gc", wait=wait):
            runs.settle(self.state.runs)
            client = registry.open(self.state.registry_uri)
            versions = [str(version.version) for version in registry.versions(client, self.project.name)]
            return housekeeping.collect(self.state, versions, keep, dry_run)

    @contextmanager
    def incidents(self) -> Iterator[IncidentFolders]:
        """Return the project's own folders."""
        yield self.state.incident_folders

    def check_machine(self) -> None:
        """Runs happen on this machine."""

    def check_server(self, advice: str = "use 'perennial run' there, or take --target kfp") -> None:
        """Refuse: runs happen on this machine."""
        raise InputError(
            f"the target {self.name!r} is of kind {self._settings.kind!r}, this verb needs a Kubeflow Pipelines "
            f"server; {advice}."
        )


def _summary(run: runs.Run) -> RunSummary:
    seconds = None if run.exit_code is None else sum(step.seconds or 0 for step in run.steps)
    return RunSummary(run.id, f"{run.project}-{run.pipeline}", run.state, datetime.fromisoformat(run.started), seconds)
