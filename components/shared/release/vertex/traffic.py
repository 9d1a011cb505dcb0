"""Traffic of an endpoint of Vertex AI: its traffic split says who answers.

A deployed model has no address of its own, so a candidate is deployed twice at first: without traffic to the endpoint,
and to a second one that only it answers, where it is queried in isolation. That endpoint is deleted as soon as the
candidate has answered right.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from components.shared.documents.release import RegisteredVersion
from components.shared.errors import InputError, StepFailed
from components.shared.release.journal import ReleaseJournal
from components.shared.release.machine import Phase
from components.shared.release.pace import Pace
from components.shared.release.sample import Sample
from components.shared.release.traffic import Counted
from components.shared.release.vertex.container import Capacity, Container
from components.shared.release.vertex.endpoint import VertexEndpoint
from components.shared.release.vertex.model_versions import ModelVersions
from components.shared.release.vertex.monitoring import RequestCounts
from components.shared.release.vertex.package import PackageStore
from components.shared.release.vertex.predictions import Answer, Predictions
from components.shared.vertex import Connection

logger = logging.getLogger(__name__)

CANDIDATE = "-candidate"
"""What the name of the second endpoint ends with."""


class VertexTraffic:
    """The versions of one model at an endpoint.

    Args:
        connection: Vertex AI.
        name: Id of the endpoint and of the model there.
        project: Name of the Perennial project, their owner.
        pace: How long each thing may take.
        packages: Where Vertex AI reads packages from.
        capacity: What a version gets.
        counts: Counts the requests of each version.
        container: Of the candidate; None if the version was uploaded before.
    """

    def __init__(
        self,
        connection: Connection,
        name: str,
        project: str,
        pace: Pace,
        packages: PackageStore,
        capacity: Capacity,
        counts: RequestCounts,
        container: Container | None = None,
    ) -> None:
        self._pace, self._packages, self._capacity, self._container = pace, packages, capacity, container
        self._models = ModelVersions(connection, name, project, pace)
        self._endpoint = VertexEndpoint(connection, name, project, pace)
        self._staging = VertexEndpoint(connection, f"{name}{CANDIDATE}", project, pace)
        self._predictions, self._counts = Predictions(connection), counts
        self._deployments: dict[VertexEndpoint, str] = {}

    def answering(self) -> str | None:
        """Return the version that answers most requests.

        Raises:
            StepFailed: If somebody else's endpoint has this name.
        """
        shares = {version: share for version, share in self._endpoint.shares().items() if share}
        return max(shares, key=lambda version: shares[version], default=None)

    def shares(self) -> dict[str, int]:
        """Return each deployed version's percentage of the traffic."""
        return self._endpoint.shares()

    def uploaded(self) -> list[str]:
        """Return the versions in Model Registry, which can answer again without an upload."""
        return self._models.versions()

    def ask(self, rows: Sequence[Mapping[str, Any]], interval: float | None = None) -> Answer:
        """Request predictions of the public endpoint; see ``Predictions.ask``."""
        return self._predictions.ask(self._endpoint, rows, interval)

    def refresh(self, release: RegisteredVersion, load_sample: Callable[[], Sample]) -> bool:
        """Return False: a container is part of the model that was uploaded; a new one comes with the next version."""
        return False

    def serving(self) -> bool:
        """Return True: an endpoint of Vertex AI is always there."""
        return True

    def describe(self, journal: ReleaseJournal) -> ReleaseJournal:
        """Remember whether the candidate was uploaded before, so that an undo keeps it."""
        if any(step.mirrored for step in journal.plan.steps):
            raise _cannot_mirror()
        uploaded = self._models.find(journal.version) is not None
        if not uploaded and self._container is None:
            raise InputError(
                f"version {journal.version} was never uploaded to Model Registry; run the pipeline to release it."
            )
        return journal.model_copy(update={"installed_before": uploaded})

    def prepare(self, journal: ReleaseJournal) -> ReleaseJournal:
        """Return the journal as it is; an endpoint has one layout."""
        return journal

    def place(self, journal: ReleaseJournal) -> None:
        """Upload the candidate, and begin to deploy it to both endpoints at the same time."""
        model = self._models.find(journal.version)
        if model is None:
            if self._container is None:
                raise StepFailed(f"version {journal.version} is no longer in Model Registry; release again.")
            uri = self._packages.uri(journal.release)
            model = self._models.upload(journal.release, self._container, uri)
        for endpoint in self._endpoints(journal):
            endpoint.create()
            operation = endpoint.begin_deployment(journal.version, model, self._capacity)
            if operation is not None:
                self._deployments[endpoint] = operation

    def await_ready(self, journal: ReleaseJournal) -> None:
        """Wait until the candidate is deployed; the second endpoint gives it everything."""
        for endpoint in self._endpoints(journal):
            operation = self._deployments.pop(endpoint, None)
            if operation is not None:
                endpoint.operations.finish(operation, f"deploy release {journal.version}", self._pace.start_s)
            if endpoint.deployed(journal.version) is None:
                raise StepFailed(
                    f"release {journal.version} is not deployed to {endpoint.name}: its deployment failed or it was "
                    "removed by someone else; look at the endpoint in the console, then release again."
                )
        if self._is_staged(journal):
            self._staging.split({journal.version: 100})

    def scale_up(self, journal: ReleaseJournal) -> None:
        """Delete the second endpoint, and give the candidate as many replicas as the former version has now."""
        self._remove_staging()
        former = None if journal.former is None else self._endpoint.deployed(journal.former)
        if former is not None and journal.former != journal.version:
            running = former.status.available_replica_count
            self._endpoint.scale(journal.version, max(self._capacity.replicas[0], running))

    def route(self, journal: ReleaseJournal, share: int, *, mirrored: bool = False) -> None:
        """Set the traffic split, and wait until the endpoint has adopted it."""
        if mirrored:
            raise _cannot_mirror()
        if journal.former == journal.version:
            self._endpoint.split({journal.version: 100})
        elif journal.former is None:
            # Nobody else could answer the rest.
            self._endpoint.split({journal.version: 100} if share == 100 else {})
        else:
            self._endpoint.split({journal.former: 100 - share, journal.version: share})

    def counts(self, journal: ReleaseJournal) -> Counted:
        """Return what Cloud Monitoring counted since the candidate was deployed; None if it can't be read."""
        endpoint = self._endpoint.read()
        return Counted(journal, None if endpoint is None else self._counts.read(endpoint, journal.version))

    def query(self, journal: ReleaseJournal, sample: Sample, *, isolated: bool) -> None:
        """Query the second endpoint, or the public one until the candidate answers there."""
        endpoint = self._staging if isolated else self._endpoint
        answer: Answer | None = None

        def is_answering() -> bool:
            nonlocal answer
            answer = self._predictions.ask(endpoint, sample.rows)
            return answer.version == journal.version

        try:
            self._pace.within(is_answering, self._pace.route_s)
        except InputError as refused:
            raise StepFailed(f"release {journal.version} does not answer its own sample: {refused}") from refused
        assert answer is not None
        sample.check(answer.version, answer.predictions)

    def retire(self, journal: ReleaseJournal) -> None:
        """Undeploy the former version, which stays in Model Registry, and let the alias there name the candidate."""
        self._endpoint.split({journal.version: 100})
        if journal.former is not None and journal.former != journal.version:
            self._endpoint.undeploy(journal.former)
        self._endpoint.scale(journal.version, self._capacity.replicas[0])
        self._remove_staging()
        self._models.point_to(journal.version)

    def remove(self, journal: ReleaseJournal) -> None:
        """Undeploy the candidate, and delete what only it needed."""
        for endpoint in (self._staging, self._endpoint):
            endpoint.operations.cancel(endpoint.name)
        self._deployments.clear()
        self._remove_staging()
        if journal.version == journal.former:
            return
        self._endpoint.undeploy(journal.version)
        if journal.former is None:
            self._endpoint.delete()
        if not journal.installed_before:
            self._models.delete(journal.version)

    def _endpoints(self, journal: ReleaseJournal) -> tuple[VertexEndpoint, ...]:
        return (self._staging, self._endpoint) if self._is_staged(journal) else (self._endpoint,)

    @staticmethod
    def _is_staged(journal: ReleaseJournal) -> bool:
        """Return whether the candidate has yet to be queried in isolation; one that is resumed later was."""
        return journal.phase is Phase.PLACE

    def _remove_staging(self) -> None:
        self._staging.operations.settle(self._staging.name, self._pace.route_s)
        if self._staging.read() is None:
            return
        self._staging.split({})
        for left in self._staging.shares():
            self._staging.undeploy(left)
        self._staging.delete()


def _cannot_mirror() -> StepFailed:
    return StepFailed(
        "an endpoint of Vertex AI can't mirror requests; use a strategy without a mirrored step, such as canary."
    )
