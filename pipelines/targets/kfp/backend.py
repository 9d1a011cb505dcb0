"""The Kubeflow Pipelines target: bring a project there, start runs, follow them, fetch what they left."""

import functools
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.shared import inference, registry, sources
from components.shared.errors import InputError, PerennialError, StepFailed
from pipelines.definitions.catalog import PipelineEntry
from pipelines.runs import Run, report
from pipelines.targets import samples
from pipelines.targets.kfp import artifacts, listing, schedules, submission
from pipelines.targets.kfp.connection import Server
from pipelines.targets.kfp.following import Follower, keep_logs
from pipelines.targets.kfp.storage import Bucket
from pipelines.targets.model import Images, Kfp
from pipelines.targets.protocol import Backend, RunObserver, RunRequest, RunSummary, Schedule, Version
from pipelines.targets.state import State

if TYPE_CHECKING:
    import pyarrow as pa
    from mlflow import MlflowClient

    from components.shared.label_store import AddedLabels

_LOOK_S = 5.0


@dataclass(frozen=True)
class RemoteRun:
    """A run at the server, which continues whether it is followed or not."""

    record: Run
    entry: PipelineEntry
    server: Server
    bucket: Bucket
    observer: RunObserver
    target: str
    """The target's name, for the commands that show or end the run."""

    def follow(self) -> Path:
        """Wait for the run's end and fetch what it left; see ``StartedRun.follow``."""
        self.observer.started(self.record)
        follower = Follower(self.server, self.record, self.observer.changed, self.observer.announced)
        try:
            follower.to_the_end()
        except KeyboardInterrupt:
            self.observer.ended(self.record)
            self.observer.announced(
                f"no longer watching; the run continues. 'perennial logs --target {self.target} {self.record.remote}' "
                f"shows it, 'perennial runs --target {self.target} --end {self.record.remote}' ends it."
            )
            raise
        self.observer.ended(self.record)
        self._fetch(follower)
        return report.render(self.record.as_dict(), self.record.folder, self.entry.sections)

    def _fetch(self, follower: Follower) -> None:
        """Keep what the steps wrote; a run has ended as it has, whether this machine can read it or not."""
        try:
            uris = artifacts.located(follower.workflow())
            self.record.artifacts |= artifacts.bring(uris, self.bucket, self.record.folder / "artifacts")
        except PerennialError as error:
            self.observer.announced(f"what the run measured stays on the cluster: {error}")
        self.record.save()


class KfpBackend(Backend):
    """A Kubeflow Pipelines server."""

    is_remote = True

    def __init__(self, name: str, target: Kfp, state: State) -> None:
        """Keep what the target file says."""
        super().__init__(name, target, state)
        self.target = target

    @functools.cached_property
    def server(self) -> Server:
        """The connection.

        Raises:
            InputError: If nothing or something else answers, or it refuses us.
        """
        return Server(self.target)

    @property
    def images(self) -> Images:
        """Where the target finds the images of the steps."""
        return self.target.images

    def compile(self, pipeline: PipelineEntry) -> str:
        """Compile with pinned images and all that only Kubernetes knows."""
        return submission.compiled(self.state, self.target, pipeline)

    @contextmanager
    def start(self, request: RunRequest, observer: RunObserver) -> Iterator[RemoteRun]:
        """Upload what is new and create a run; it continues when the context is left."""
        prepared = submission.prepare(self.state, self.target, request)
        server, bucket = self.server, Bucket(self.target.storage)
        parameters = submission.arguments(prepared, bucket, request)
        version = submission.upload(server, prepared.pipeline, prepared.documents, submission.revision())
        experiment = self._experiment(request.experiment)
        now = datetime.now(UTC)
        name = f"{prepared.pipeline} {now:%Y-%m-%d %H:%M:%S}"
        run_id = submission.start(server, version, parameters, name, experiment)
        self.state.runs.mkdir(parents=True, exist_ok=True)
        record = submission.record(prepared, run_id, now)
        observer.announced(f"submitted run {run_id}, version {version.name}, experiment {experiment!r}")
        yield RemoteRun(record, request.entry, server, bucket, observer, self.name)

    def runs(self, experiment: str | None = None, last: int = 10) -> Sequence[RunSummary]:
        """List the newest runs of the project, and bring their local records up to date."""
        listing.update(self.server, self.state.runs)
        return listing.newest(self.server, self._experiment(experiment), last, self.state.runs)

    @contextmanager
    def logs(self, run: str, step: str | None = None) -> Iterator[Run]:
        """Give the record of a run, with the logs fetched from the server."""
        run_id = listing.find(self.server, run, self.state.runs, self._experiment(None))
        with listing.record_of(self.server, run_id, self.state.runs) as (record, follower):
            keep_logs(follower, record, step)
            yield record

    def end(self, run: str) -> str:
        """End a run at the server and return its id."""
        run_id = listing.find(self.server, run, self.state.runs, self._experiment(None))
        with listing.record_of(self.server, run_id, self.state.runs) as (_, follower):
            follower.terminate()
        return run_id

    def upload(self, pipeline: PipelineEntry, revision: str | None) -> Version:
        """Upload the compiled pipeline as a version; the same again does nothing."""
        prepared = submission.prepare(self.state, self.target, RunRequest(pipeline=pipeline.name))
        name = revision or submission.revision()
        return submission.upload(self.server, prepared.pipeline, prepared.documents, name)

    def create_schedule(self, request: RunRequest, cron: str, name: str | None) -> tuple[Schedule, Version]:
        """Schedule the pipeline as it is now: version, bundle and images stay until it is scheduled again."""
        expression = schedules.check_cron(cron)
        prepared = submission.prepare(self.state, self.target, request)
        server = self.server
        parameters = submission.arguments(prepared, Bucket(self.target.storage), request)
        version = submission.upload(server, prepared.pipeline, prepared.documents, submission.revision())
        experiment = self._experiment(request.experiment)
        schedule = schedules.create(server, name or prepared.pipeline, expression, version, parameters, experiment)
        return schedule, version

    def schedules(self, experiment: str | None = None) -> Sequence[Schedule]:
        """List the schedules of the project."""
        return schedules.listing(self.server, self._experiment(experiment))

    def pause_schedule(self, name: str, experiment: str | None = None) -> None:
        """Start nothing until the schedule is resumed."""
        schedules.pause(self.server, schedules.named(self.server, name, self._experiment(experiment)))

    def resume_schedule(self, name: str, experiment: str | None = None) -> None:
        """Start runs again, from now on."""
        schedules.resume(self.server, schedules.named(self.server, name, self._experiment(experiment)))

    def delete_schedule(self, name: str, experiment: str | None = None) -> None:
        """Delete a schedule none of whose runs continues."""
        filed = self._experiment(experiment)
        schedules.delete(self.server, schedules.named(self.server, name, filed), filed)

    def ask(self, rows: Sequence[Mapping[str, Any]] | None) -> dict[str, Any]:
        """Ask KServe's gateway for the project's model, as anybody outside of the cluster does."""
        url, host = self._gateway()
        rows = samples.last(self.state)[:1] if rows is None else rows
        try:
            return inference.predict(url, self.project.name, rows, host=host)
        except StepFailed as failed:
            raise StepFailed(
                f"the models' gateway {url} does not answer for {host} ({str(failed).rstrip('.')}); "
                "give gateway_url in the target file where this machine reaches it at another address."
            ) from failed

    def endpoint_state(self) -> str:
        """Say in a few words which release answers, and where, or why none does."""
        url, host = self._gateway()
        try:
            status, metadata = inference.call(url, f"/v2/models/{self.project.name}", host=host)
        except StepFailed:
            return (
                f"unknown: the models' gateway {url} does not answer; give gateway_url in the target file where this "
                "machine reaches it at another address"
            )
        if status == HTTPStatus.NOT_FOUND:
            return f"no release yet, at {url} (host {host})"
        if status != HTTPStatus.OK:
            return f"the gateway {url} answers with status {status} (host {host})"
        return f"release {', '.join(metadata['versions'])}, at {url} (host {host})"

    def open_registry(self) -> "MlflowClient":
        """Open the MLflow server, as this machine reaches it.

        Raises:
            StepFailed: If it is not reachable.
        """
        url = self.target.registry_url or self.target.services.registry
        try:
            # MLflow itself tries for a long time.
            urllib.request.urlopen(f"{url.rstrip('/')}/health", timeout=_LOOK_S).close()
        except (OSError, ValueError) as error:
            raise StepFailed(
                f"the model registry {url} does not answer ({error}); give registry_url in the target file where this "
                "machine reaches it at another address."
            ) from error
        return registry.open(url)

    def add_labels(self, labels: "pa.Table", now: datetime) -> "AddedLabels":
        """Add them to the bucket, as a file of their own.

        Raises:
            InputError: If the target does not say where in a bucket labels are kept, or the bucket refuses.
        """
        from components.shared import label_store

        uri = self.target.services.labels
        if not sources.is_remote(uri):
            raise InputError(
                f"services.labels of the target is {uri!r}, which no pod reaches; expected s3://bucket/prefix."
            )
        bucket = Bucket(self.target.storage)
        with tempfile.TemporaryDirectory() as folder:
            added = label_store.add(Path(folder), labels, now)
            files = sorted(Path(folder).glob("*.parquet"))
            newest = max(bucket.names(uri), default="")
            if any(newest.endswith(label_store.content_of(file)) for file in files):
                return label_store.AddedLabels(added.rows, is_new=False)
            for file in files:
                bucket.put(file, uri)
        return added

    def check_machine(self) -> None:
        """Refuse: runs happen at the server."""
        raise InputError(
            f"the target {self.name!r} is of kind {self.target.kind!r}, this verb works on this machine (laptop, "
            "docker); use 'perennial submit', 'runs' and 'logs' there."
        )

    def check_server(self, advice: str = "") -> None:
        """Runs happen at the server."""

    def _gateway(self) -> tuple[str, str]:
        """Return the address of the models' gateway, and the Host header that leads to the project's model."""
        from components.shared.release.kserve.address import Address

        address = Address.parse(self.target.services.endpoint)
        url = self.target.gateway_url or address.ingress
        if url is None or address.domain is None:
            raise InputError(
                "the target does not say where its models answer; give gateway_url, as this machine reaches it, "
                "and services.endpoint a 'domain', as in kserve://models?domain=example.com."
            )
        return url, f"{self.project.name}-{address.namespace}.{address.domain}"

    def _experiment(self, name: str | None) -> str:
        return name or self.target.experiment or self.project.name
