"""The Kubeflow Pipelines target: bring a project there, start runs, follow them, fetch what they left."""

import functools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from components.shared import inference
from components.shared.errors import InputError, PerennialError, StepFailed
from components.shared.inference import Subject
from pipelines.definitions.catalog import PipelineEntry
from pipelines.runs import Run
from pipelines.targets import samples
from pipelines.targets.kfp import listing, schedules, submission
from pipelines.targets.kfp.connection import Server
from pipelines.targets.kfp.endpoint import ProjectEndpoint
from pipelines.targets.kfp.following import Follower, keep_logs
from pipelines.targets.model import Kfp
from pipelines.targets.openlineage import observer as openlineage
from pipelines.targets.protocol import Collected, RunObserver, RunRequest, RunSummary, Schedule, Version
from pipelines.targets.remote import submission as remote
from pipelines.targets.remote.artifacts import bring_documents
from pipelines.targets.remote.records import KFP
from pipelines.targets.remote.releasing import RemoteReleasingBackend
from pipelines.targets.remote.run import RemoteRun
from pipelines.targets.remote.schedules import named
from pipelines.targets.remote.storage import Bucket
from pipelines.targets.state import State

if TYPE_CHECKING:
    pass

_LOOK_S = 5.0


class KfpBackend(RemoteReleasingBackend):
    """A Kubeflow Pipelines server."""

    def __init__(self, name: str, target: Kfp, state: State) -> None:
        """Keep what the target file says."""
        super().__init__(name, target, state)
        self.target: Kfp = target

    @functools.cached_property
    def server(self) -> Server:
        """The connection.

        Raises:
            InputError: If something else answers, or it refuses us.
            StepFailed: If nothing answers.
        """
        return Server(self.target)

    def compile(self, pipeline: PipelineEntry) -> str:
        """Compile with pinned images and all that only Kubernetes knows."""
        return submission.compiled(self.state, self.target, pipeline)

    @contextmanager
    def start(self, request: RunRequest, observer: RunObserver) -> Iterator[RemoteRun]:
        """Upload what is new and create a run; it continues when the context is left."""
        prepared = submission.prepare(self.state, self.target, request)
        server, bucket = self.server, Bucket(self.target.storage)
        parameters = remote.arguments(prepared, bucket, request)
        version = submission.upload(server, prepared.pipeline, prepared.documents, remote.revision())
        experiment = self._experiment(request.experiment)
        now = datetime.now(UTC)
        name = f"{prepared.pipeline} {now:%Y-%m-%d %H:%M:%S}"
        run_id = submission.start(server, version, parameters, name, experiment)
        record = remote.record(prepared, run_id, KFP, now)
        observer.announced(f"submitted run {run_id}, version {version.name}, experiment {experiment!r}")
        observer = openlineage.observed(observer, self.project, self.state.root)
        yield RemoteRun(record, request.entry, bucket, observer, self.name, functools.partial(Follower, server, record))

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

    @contextmanager
    def results(self, run: str) -> Iterator[Run]:
        """Give the record of a run, with its documents copied from the bucket."""
        run_id = listing.find(self.server, run, self.state.runs, self._experiment(None))
        with listing.record_of(self.server, run_id, self.state.runs) as (record, follower):
            bring_documents(record, follower.artifacts, Bucket(self.target.storage))
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
        name = revision or remote.revision()
        return submission.upload(self.server, prepared.pipeline, prepared.documents, name)

    def create_schedule(self, request: RunRequest, cron: str, name: str | None) -> tuple[Schedule, Version]:
        """Schedule the pipeline as it is now: version, bundle and images stay until it is scheduled again."""
        expression = schedules.check_cron(cron)
        prepared = submission.prepare(self.state, self.target, request)
        server = self.server
        parameters = remote.arguments(prepared, Bucket(self.target.storage), request)
        version = submission.upload(server, prepared.pipeline, prepared.documents, remote.revision())
        experiment = self._experiment(request.experiment)
        schedule = schedules.create(server, name or prepared.pipeline, expression, version, parameters, experiment)
        return schedule, version

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
        """Delete a schedule none of whose runs continues."""
        filed = self._experiment(experiment)
        schedules.delete(self.server, named(schedules.listing(self.server, filed), name), filed)

    def collect(self, keep: int, *, dry_run: bool, wait: bool) -> Collected:
        """Remove what nothing needs from the server, its bucket and the models' namespace.

        Runs are never waited for: what one of them may read stays until the next time.
        """
        from components.shared import registry
        from pipelines.targets.kfp.housekeeping import Housekeeping
        from pipelines.targets.kfp.server_runs import ServerRuns

        now, name = datetime.now(UTC), self.project.name
        versions = [str(version.version) for version in registry.versions(self.open_registry(), name)]
        bucket = Bucket(self.target.storage)
        if not dry_run:
            # How a run ended that is about to be deleted can't be read afterwards.
            listing.update(self.server, self.state.runs)
        done = Housekeeping(ServerRuns(self.server), bucket, name, versions, now).collect(keep, dry_run=dry_run)
        try:
            models = self.endpoint.collect(now, dry_run=dry_run)
        except PerennialError as reason:
            return done._replace(kept=(*done.kept, f"the models' namespace is left alone: {reason}"))
        return Collected((*done.removed, *models.removed), done.bytes, (*done.kept, *models.kept))

    look_every_s = 5.0

    @functools.cached_property
    def endpoint(self) -> ProjectEndpoint:
        """The project's endpoint; opens the registry.

        Raises:
            InputError: If the target's endpoint is none on a cluster, or no cluster is configured here.
        """
        services = self.target.services
        return ProjectEndpoint(services.endpoint, self.project, self.open_registry, self.target.gateway_url)

    def account(self) -> str:
        """Return the account as which the API server knows this command."""
        return self.endpoint.account()

    def ask(
        self,
        rows: Sequence[Mapping[str, Any]] | None,
        *,
        explains: bool = False,
        interval: float | None = None,
        subject: Subject | None = None,
    ) -> dict[str, Any]:
        """Ask KServe's gateway for the project's model, as anybody outside of the cluster does."""
        url, host = self._gateway()
        rows = samples.last(self.state)[:1] if rows is None else rows
        try:
            return inference.predict(
                url,
                self.project.name,
                rows,
                host=host,
                explains=explains,
                interval=interval,
                subject=subject,
            )
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
