"""A release as an InferenceService of its own, behind an HTTPRoute of ours.

For a KServe that does not route canaries.
"""

import copy

from components.shared.errors import StepFailed
from components.shared.release.journal import ReleaseJournal
from components.shared.release.kserve import routes
from components.shared.release.kserve.cluster import Cluster, Manifest
from components.shared.release.kserve.ingress import Ingress
from components.shared.release.kserve.layout import objects_of
from components.shared.release.kserve.pods import Pods
from components.shared.release.pace import Pace

_SUFFIX = "-predictor"


class TwoServicesLayout:
    """One InferenceService per version, visible in the cluster only, and one public route."""

    def __init__(self, cluster: Cluster, name: str, ingress: Ingress, pods: Pods, pace: Pace) -> None:
        self._cluster, self._name, self._ingress, self._pods, self._pace = cluster, name, ingress, pods, pace

    def answering(self) -> str | None:
        """Return the version to which the route sends most requests."""
        weights = routes.weights(self._cluster.get("HTTPRoute", self._name))
        if not weights or not weights[0]:
            return None
        service = max(weights[0], key=lambda name: weights[0][name])
        return service.removeprefix(f"{self._name}-v").removesuffix(_SUFFIX)

    def owner(self, version: str) -> str:
        """Return the version's own InferenceService."""
        return f"{self._name}-v{version}"

    def service(self, version: str) -> str:
        """Return KServe's name of a version's Service."""
        return f"{self._name}-v{version}{_SUFFIX}"

    def scale(self) -> tuple[int, int]:
        """Return what is not used: nothing of the former version is changed."""
        return 1, 1

    def parents(self) -> list[Manifest]:
        """Return the gateway."""
        return self._ingress.parents()

    def host(self) -> str:
        """Return the public hostname, as KServe would make it."""
        return self._ingress.host(self._name)

    def place(self, journal: ReleaseJournal) -> None:
        """Create the candidate alongside the former version, with as many pods."""
        objects = objects_of(journal)
        self._cluster.apply(objects.runtime)
        self._cluster.apply(self._inference_service(journal, objects.pods))

    def await_ready(self, journal: ReleaseJournal) -> None:
        """Wait until all of the candidate's pods are ready."""
        service, owner = self.service(journal.version), self.owner(journal.version)
        self._pods.wait(service, owner, journal.version, objects_of(journal).pods)

    def scale_up(self, journal: ReleaseJournal) -> None:
        """Do nothing: the candidate was created with all of its pods."""

    def route(self, journal: ReleaseJournal, share: int, mirrored: bool) -> None:
        """Set the route's weights; before the first release answers there is no route."""
        route = self._cluster.get("HTTPRoute", self._name)
        candidate = self.service(journal.version)
        if journal.former is None or journal.former == journal.version:
            if share == 100:
                self._apply_route(journal, {candidate: 100})
            elif journal.former is None:
                self._cluster.delete("HTTPRoute", self._name)
            return
        former = self.service(journal.former)
        if routes.leads_to(route, candidate, only=True):
            if share < 100:
                raise StepFailed(
                    f"release {journal.version} has taken over and release {journal.former} is gone; release that "
                    "version again."
                )
        elif share == 0 and not mirrored:
            if not routes.leads_to(route, former, only=True) or routes.mirrors(route):
                self._apply_route(journal, {former: 100})
        else:
            self._apply_route(journal, {former: 100 - share, candidate: share}, mirror=candidate if mirrored else None)

    def retire(self, journal: ReleaseJournal) -> None:
        """Let the route name the candidate only, and delete the former version."""
        self._apply_route(journal, {self.service(journal.version): 100})
        if journal.former is not None and journal.former != journal.version:
            self._delete(journal.former)
        self._cluster.apply(self._inference_service(journal, None))

    def remove(self, journal: ReleaseJournal) -> None:
        """Delete the candidate."""
        if journal.version != journal.former:
            self._delete(journal.version)

    def _delete(self, version: str) -> None:
        self._cluster.delete("InferenceService", self.owner(version))
        self._pace.until(
            lambda: self._pods.gone(self.service(version)), self._pace.route_s, f"release {version} was not removed"
        )

    def _apply_route(self, journal: ReleaseJournal, weights: dict[str, int], mirror: str | None = None) -> None:
        route = routes.document(self._name, self.host(), self.parents(), weights, journal.name, mirror)
        self._cluster.apply(route)
        self._ingress.await_accepted(self._name)

    def _inference_service(self, journal: ReleaseJournal, pods: int | None) -> Manifest:
        """Name the service by its version; the model in it keeps its name."""
        service = copy.deepcopy(objects_of(journal).service)
        metadata, predictor = service["metadata"], service["spec"]["predictor"]
        metadata["name"] = self.owner(journal.version)
        metadata["labels"]["networking.kserve.io/visibility"] = "cluster-local"
        # An older KServe does not know the name of a predictor.
        predictor.pop("name", None)
        predictor["model"]["args"] = [*predictor["model"].get("args", []), f"--name={self._name}"]
        if pods is not None:
            predictor["minReplicas"] = max(pods, predictor["minReplicas"])
            predictor["maxReplicas"] = max(predictor["minReplicas"], predictor["maxReplicas"])
        return service
