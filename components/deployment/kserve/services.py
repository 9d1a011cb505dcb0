"""Release as an InferenceService of its own, behind an HTTPRoute of ours: for a KServe that does not route canaries."""

import copy

from components.deployment.kserve import routes
from components.deployment.kserve.cluster import Cluster, Document
from components.deployment.kserve.ingress import Ingress
from components.deployment.kserve.journal import Entry
from components.deployment.kserve.pace import Pace
from components.deployment.kserve.pods import Pods

WAY = "services"
_END = "-predictor"


class Services:
    """One InferenceService per release, which only the cluster sees, and one route that the public sees."""

    def __init__(self, cluster: Cluster, name: str, ingress: Ingress, pods: Pods, pace: Pace) -> None:
        self._cluster, self._name, self._ingress, self._pods, self._pace = cluster, name, ingress, pods, pace

    def answering(self) -> str | None:
        """Return the version to which the route sends most."""
        found = routes.weights(self._cluster.get("HTTPRoute", self._name))
        if not found or not found[0]:
            return None
        service = max(found[0], key=lambda name: found[0][name])
        return service.removeprefix(f"{self._name}-v").removesuffix(_END)

    def service(self, version: str) -> str:
        """Return KServe's name of a version's Service."""
        return f"{self._name}-v{version}{_END}"

    def scale(self) -> tuple[int, int]:
        """Nothing of the former release is changed, so nothing is to be put back."""
        return 1, 1

    def parents(self) -> list[Document]:
        """Name the gateway."""
        return self._ingress.parents()

    def host(self) -> str:
        """Return the public hostname, as KServe would give it."""
        return self._ingress.host(self._name)

    def place(self, entry: Entry) -> None:
        """Let the candidate stand beside the champion, with as many pods, until they are ready."""
        self._cluster.apply(entry.runtime)
        self._cluster.apply(self._document(entry, entry.pods))
        self._pods.wait(self.service(entry.version), self._own(entry.version), entry.version, entry.pods)

    def widen(self, entry: Entry) -> None:
        """Nothing to do: the candidate came with all of its pods."""

    def switched(self, entry: Entry) -> bool:
        """Say whether the route names the candidate and nothing else."""
        return routes.leads_to(self._cluster.get("HTTPRoute", self._name), self.service(entry.version), only=True)

    def switch(self, entry: Entry) -> None:
        """Send all traffic to the candidate."""
        weights = {} if entry.former in (None, entry.version) else {self.service(str(entry.former)): 0}
        self._route(entry, weights | {self.service(entry.version): 100})

    def rename(self, entry: Entry) -> None:
        """Let the route name the candidate only; the former release goes."""
        self._route(entry, {self.service(entry.version): 100})
        if entry.former is not None and entry.former != entry.version:
            self._remove(entry.former)
        self._cluster.apply(self._document(entry, None))

    def back(self, entry: Entry) -> None:
        """Send all traffic to the champion again; before the first release there is no route."""
        if entry.former is None:
            self._cluster.delete("HTTPRoute", self._name)
        elif not routes.leads_to(self._cluster.get("HTTPRoute", self._name), self.service(entry.former), only=True):
            self._route(entry, {self.service(entry.former): 100})

    def remove(self, entry: Entry) -> None:
        """Take the candidate away."""
        if entry.version != entry.former:
            self._remove(entry.version)

    def _own(self, version: str) -> str:
        return f"{self._name}-v{version}"

    def _remove(self, version: str) -> None:
        self._cluster.delete("InferenceService", self._own(version))
        self._pace.until(
            lambda: self._pods.gone(self.service(version)), self._pace.route_s, f"Release {version} was not removed"
        )

    def _route(self, entry: Entry, weights: dict[str, int]) -> None:
        self._cluster.apply(routes.document(self._name, self.host(), self.parents(), weights, entry.name))
        self._ingress.await_accepted(self._name)

    def _document(self, entry: Entry, pods: int | None) -> Document:
        """Rename the service by its version; the model in it keeps its name."""
        service = copy.deepcopy(entry.service)
        metadata, predictor = service["metadata"], service["spec"]["predictor"]
        metadata["name"] = self._own(entry.version)
        metadata["labels"]["networking.kserve.io/visibility"] = "cluster-local"
        # An older KServe knows no name of a predictor.
        predictor.pop("name", None)
        predictor["model"]["args"] = [*predictor["model"].get("args", []), f"--name={self._name}"]
        if pods is not None:
            predictor["minReplicas"] = max(pods, predictor["minReplicas"])
            predictor["maxReplicas"] = max(predictor["minReplicas"], predictor["maxReplicas"])
        return service
