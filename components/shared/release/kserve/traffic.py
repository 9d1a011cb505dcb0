"""Traffic of an endpoint on a cluster: KServe brings the pods up, the weights of an HTTPRoute say who answers."""

import logging
from collections.abc import Callable

from components.shared.documents.release import RegisteredVersion
from components.shared.errors import InputError, PerennialError, StepFailed
from components.shared.release.journal import ClusterObjects, Layout, ReleaseJournal
from components.shared.release.kserve.address import Address
from components.shared.release.kserve.canary import CanaryLayout
from components.shared.release.kserve.cluster import Cluster, Manifest
from components.shared.release.kserve.counting import PodCounts
from components.shared.release.kserve.ingress import Ingress
from components.shared.release.kserve.layout import ClusterLayout, objects_of
from components.shared.release.kserve.objects import PROJECT
from components.shared.release.kserve.pods import Pods
from components.shared.release.kserve.two_services import TwoServicesLayout
from components.shared.release.pace import Pace
from components.shared.release.sample import Sample
from components.shared.release.traffic import Counted

logger = logging.getLogger(__name__)


class ClusterTraffic:
    """The versions of one model in a namespace.

    Args:
        cluster: The namespace.
        name: Name of the InferenceService, and of the model in requests.
        project: Name of the Perennial project, the owner of its objects.
        address: How requests reach it.
        pace: How long each thing may take.
        candidate: The candidate's InferenceService and ServingRuntime; None where no release begins here.
    """

    def __init__(
        self,
        cluster: Cluster,
        name: str,
        project: str,
        address: Address,
        pace: Pace,
        candidate: tuple[Manifest, Manifest] | None = None,
    ) -> None:
        self._cluster, self._name, self._project, self._candidate = cluster, name, project, candidate
        self._ingress = Ingress(cluster, address, pace)
        self._pods = Pods(cluster, pace)
        self._counts = PodCounts(cluster, self._pods)
        self._canary = CanaryLayout(cluster, name, self._ingress, self._pods, pace)
        self._layouts: dict[Layout, ClusterLayout] = {
            "canary": self._canary,
            "two_services": TwoServicesLayout(cluster, name, self._ingress, self._pods, pace),
        }

    def answering(self) -> str | None:
        """Return the version that answers most requests.

        Raises:
            StepFailed: If somebody else's objects have this name.
        """
        self._check_owner()
        layout = self._current_layout()
        return None if layout is None else self._layouts[layout].answering()

    def refresh(self, release: RegisteredVersion, load_sample: Callable[[], Sample]) -> bool:
        """Replace the pods of the version that answers, one after another, if its release names another runtime."""
        layout = self._current_layout()
        if self._candidate is None or layout is None:
            return False
        wanted, runtime = self._candidate
        name = wanted["spec"]["predictor"]["model"]["runtime"]
        owner = self._layouts[layout].owner(release.version)
        former = (self._cluster.get("InferenceService", owner) or wanted)["spec"]["predictor"]["model"]["runtime"]
        if former == name:
            return False
        service = self._layouts[layout].service(release.version)
        before = {pod["metadata"]["uid"] for pod in self._pods.of(service)}
        self._cluster.apply(runtime)
        self._name_runtime(owner, name)
        try:
            self._pods.wait(service, owner, release.version, self._pods.scale(service), replaces=before)
            self._ingress.verify_public(load_sample(), self._layouts[layout].host(), self._layouts[layout].parents())
        except PerennialError:
            self._name_runtime(owner, former)
            raise
        return True

    def _name_runtime(self, owner: str, runtime: str) -> None:
        self._cluster.merge("InferenceService", owner, {"spec": {"predictor": {"model": {"runtime": runtime}}}})

    def serving(self) -> bool:
        """Return True: a cluster is always there."""
        return True

    def describe(self, journal: ReleaseJournal) -> ReleaseJournal:
        """Remember the candidate's objects and the champion's capacity."""
        if journal.former == journal.version:
            raise StepFailed(
                f"release {journal.former} answers already, but the registry's champion is {journal.former_champion}; "
                "let the alias 'champion' name it, or release another version."
            )
        if journal.plan.trial is not None or any(step.mirrored for step in journal.plan.exposures):
            raise StepFailed(
                f"the strategy {journal.plan.strategy!r} needs a server that routes by entity and pairs the answers of "
                "two versions, which a gateway does not; release with the strategy 'canary' or 'basic' on a cluster."
            )
        if self._candidate is None:
            raise InputError(f"the objects of version {journal.version} are not here; run the pipeline to release it.")
        service, runtime = self._candidate
        layout = self._current_layout()
        if layout is None or journal.former is None:
            pods, scale = int(service["spec"]["predictor"].get("minReplicas", 1)), (1, 1)
        else:
            current = self._layouts[layout]
            pods, scale = max(1, self._pods.scale(current.service(journal.former))), current.scale()
        objects = ClusterObjects(layout=layout or "canary", pods=pods, scale=scale, service=service, runtime=runtime)
        return journal.model_copy(update={"cluster": objects})

    def prepare(self, journal: ReleaseJournal) -> ReleaseJournal:
        """Choose the layout at a project's first release; later releases go by the objects that exist.

        KServe sends everything to the only version of a service as soon as it is ready. One that needs an approval must
        not answer by then, so it gets a route of our own.
        """
        if journal.former is not None:
            return journal
        if not journal.plan.approvers and self._canary.supported(journal):
            self._canary.place(journal)
            if self._canary.routed(journal):
                return journal
            self._canary.remove(journal)
        logger.info("this KServe does not route by spec.canary: two services behind a route of our own")
        objects = objects_of(journal).model_copy(update={"layout": "two_services"})
        return journal.model_copy(update={"cluster": objects})

    def place(self, journal: ReleaseJournal) -> None:
        """Create the candidate alongside the former version."""
        self._layout(journal).place(journal)

    def await_ready(self, journal: ReleaseJournal) -> None:
        """Wait until the candidate's pods are ready."""
        self._layout(journal).await_ready(journal)

    def scale_up(self, journal: ReleaseJournal) -> None:
        """Give the candidate as many pods as the former version has."""
        self._layout(journal).scale_up(journal)

    def route(self, journal: ReleaseJournal, share: int, *, mirrored: bool = False) -> None:
        """Set the weights and wait until the gateway has adopted them."""
        self._layout(journal).route(journal, share, mirrored)

    def counts(self, journal: ReleaseJournal) -> Counted:
        """Add up what every pod of both versions counted."""
        layout = self._layout(journal)
        assert journal.former is not None
        services = {version: layout.service(version) for version in (journal.former, journal.version)}
        return self._counts.read(journal, services, journal.plan.steps[journal.step].share)

    def query(self, journal: ReleaseJournal, sample: Sample, *, isolated: bool) -> None:
        """Query through the gateway, by a route of the candidate's own or by the public one."""
        layout = self._layout(journal)
        if isolated:
            self._ingress.verify_isolated(sample, layout.service(journal.version), layout.host(), layout.parents())
        else:
            self._ingress.verify_public(sample, layout.host(), layout.parents())

    def retire(self, journal: ReleaseJournal) -> None:
        """Remove the former version."""
        layout = self._layout(journal)
        layout.retire(journal)
        self._ingress.forget(layout.service(journal.version))

    def remove(self, journal: ReleaseJournal) -> None:
        """Remove the candidate, and the route that led to it alone."""
        layout = self._layout(journal)
        self._ingress.forget(layout.service(journal.version))
        layout.remove(journal)

    def _layout(self, journal: ReleaseJournal) -> ClusterLayout:
        return self._layouts[objects_of(journal).layout]

    def _current_layout(self) -> Layout | None:
        """Return the layout of the version that answers, None before the first release."""
        return next((key for key, layout in self._layouts.items() if layout.answering() is not None), None)

    def _check_owner(self) -> None:
        """Refuse to touch what somebody else created under this name."""
        for kind in ("InferenceService", "HTTPRoute"):
            manifest = self._cluster.get(kind, self._name)
            if manifest is None:
                continue
            owner = (manifest["metadata"].get("labels") or {}).get(PROJECT)
            if owner != self._project:
                raise StepFailed(
                    f"there is a {kind} {self._name!r} in namespace {self._cluster.namespace!r} that does not belong "
                    "to this project; delete or rename it, or give the project another name."
                )
