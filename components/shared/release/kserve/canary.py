"""A release inside one InferenceService, with the candidate as its canary: for a KServe that routes by ``spec.canary``.

KServe owns the route and writes its weights; they are read there. A canary has a fixed number of pods, and KServe
subtracts that number from the champion's ``minReplicas``, whatever the weights: what it would subtract is added before.
"""

import copy
import re
from typing import Any

from components.shared.errors import StepFailed
from components.shared.release.journal import ReleaseJournal
from components.shared.release.kserve import routes
from components.shared.release.kserve.cluster import ApiRefused, Cluster, Manifest
from components.shared.release.kserve.ingress import Ingress
from components.shared.release.kserve.layout import objects_of
from components.shared.release.kserve.pods import Pods
from components.shared.release.pace import Pace

_PROBE = "probe"
# KServe does not scale a canary.
_NOT_FOR_CANARIES = ("maxReplicas", "scaleMetric", "scaleTarget")


class CanaryLayout:
    """One InferenceService; its predictor is the version that answers, its canary the candidate."""

    def __init__(self, cluster: Cluster, name: str, ingress: Ingress, pods: Pods, pace: Pace) -> None:
        self._cluster, self._name, self._ingress, self._pods, self._pace = cluster, name, ingress, pods, pace

    def answering(self) -> str | None:
        """Return the version of the service's predictor."""
        service = self._inference_service()
        return None if service is None else str(service["spec"]["predictor"]["name"]).removeprefix("v")

    def owner(self, version: str) -> str:
        """Return the project's only InferenceService."""
        return self._name

    def service(self, version: str) -> str:
        """Return KServe's name of a version's Service."""
        return self._service(f"v{version}")

    def scale(self) -> tuple[int, int]:
        """Return the smallest and largest number of pods that the service is set to."""
        predictor = (self._inference_service() or {"spec": {"predictor": {}}})["spec"]["predictor"]
        smallest = int(predictor.get("minReplicas", 1))
        return smallest, max(smallest, int(predictor.get("maxReplicas", smallest)))

    def parents(self) -> list[Manifest]:
        """Return the gateway that KServe's own route is attached to."""
        return [_reference(parent) for parent in self._existing_route()["spec"]["parentRefs"]]

    def host(self) -> str:
        """Return the public hostname that KServe gave the service."""
        return str(self._existing_route()["spec"]["hostnames"][0])

    def place(self, journal: ReleaseJournal) -> None:
        """Create the candidate's pods, without traffic."""
        objects = objects_of(journal)
        self._cluster.apply(objects.runtime)
        if journal.former is None:
            self._cluster.apply(_with_canary(objects.service, []))
        elif not self._renamed(journal) and self._canary(journal.version) is None:
            raised = objects.pods + 1 if objects.pods > 1 else None
            self._set_canary(journal, pods=1, percent=0, min_replicas=raised)

    def await_ready(self, journal: ReleaseJournal) -> None:
        """Wait until the candidate's pods are ready and KServe's route names them."""
        service = self.service(journal.version)
        self._pods.wait(service, self._name, journal.version)
        self._ingress.await_route(
            self._name,
            lambda route: routes.names(route, service),
            f"release {journal.version} is ready, but KServe's route {self._name!r} does not name its Service",
        )

    def scale_up(self, journal: ReleaseJournal) -> None:
        """Give the candidate as many pods as the former version has."""
        pods = objects_of(journal).pods
        if journal.former is not None and pods > 1 and not self._renamed(journal):
            percent = (self._canary(journal.version) or {"trafficPercent": 0})["trafficPercent"]
            self._set_canary(journal, pods=pods, percent=percent, min_replicas=2 * pods)
            self._pods.wait(self.service(journal.version), self._name, journal.version, pods)

    def route(self, journal: ReleaseJournal, share: int, mirrored: bool) -> None:
        """Set the canary's percentage, and wait until KServe's routes carry it."""
        if mirrored:
            raise StepFailed("spec.canary of KServe can't mirror requests; use a strategy without a mirrored step.")
        if journal.former is None:
            # KServe sends everything to the only version that there is.
            return
        if self._renamed(journal):
            if share < 100:
                raise StepFailed(
                    f"release {journal.version} has taken over and release {journal.former} is gone; release that "
                    "version again."
                )
            return
        canary = self._canary(journal.version)
        if canary is None and share > 0:
            raise StepFailed(
                f"release {journal.version} was removed by someone else while it was being released; release again."
            )
        if canary is None or (share == 0 and canary["trafficPercent"] == 0):
            return
        self._merge_canary([{**canary, "trafficPercent": share}])
        service = self.service(journal.version)
        self._await_routes(
            lambda route: routes.share(route, service) == share,
            f"KServe's route did not come to send {share} % of the requests to release {journal.version}",
        )

    def retire(self, journal: ReleaseJournal) -> None:
        """Rename the predictor to the candidate's version; the former version's pods go."""
        self._cluster.apply(_with_canary(objects_of(journal).service, []))
        if journal.former is not None and journal.former != journal.version:
            self._await_only(journal.version, f"KServe's route still names release {journal.former}")
            self._await_gone(self.service(journal.former))

    def remove(self, journal: ReleaseJournal) -> None:
        """Remove the candidate, and the capacity that was added for it."""
        if journal.former is None:
            self._delete(journal.version)
            return
        smallest, largest = objects_of(journal).scale
        change = {"canary": [], "predictor": {"minReplicas": smallest, "maxReplicas": largest}}
        self._cluster.merge("InferenceService", self._name, {"spec": change})
        self._await_only(journal.former, f"KServe's route still names release {journal.version}")
        self._await_gone(self.service(journal.version))

    def supported(self, journal: ReleaseJournal) -> bool:
        """Return whether the installed InferenceService has ``spec.canary`` and a name of the predictor at all."""
        service = objects_of(journal).service
        predictor = {**copy.deepcopy(service["spec"]["predictor"]), "name": _PROBE}
        try:
            self._cluster.apply(_with_canary(service, [_canary_entry(predictor, 1, 0)]), dry_run=True)
        except ApiRefused as refused:
            if is_unknown_field(str(refused)):
                return False
            raise
        return True

    def routed(self, journal: ReleaseJournal) -> bool:
        """Find out whether this KServe routes by ``spec.canary`` before the first release answers.

        The first version gets a twin as its canary, without traffic; a controller that routes canaries names the twin
        in the HTTPRoute once it is ready.
        """
        own = self.service(journal.version)
        self._pods.wait(own, self._name, journal.version)
        if not self._pace.within(lambda: routes.names(self._route(), own), self._pace.route_s):
            return False
        predictor = {**copy.deepcopy(objects_of(journal).service["spec"]["predictor"]), "name": _PROBE}
        twin = self._service(_PROBE)
        self._merge_canary([_canary_entry(predictor, 1, 0)])
        try:
            self._pods.wait(twin, self._name, f"{journal.version} (a twin that shows whether canaries are routed)")
            return self._pace.within(lambda: routes.names(self._route(), twin), self._pace.route_s)
        except StepFailed:
            # Two pods do not fit: the other layout needs no answer.
            return False
        finally:
            self._merge_canary([])
            self._await_gone(twin)

    def _renamed(self, journal: ReleaseJournal) -> bool:
        """Return whether the predictor already is the candidate."""
        return self.answering() == journal.version

    def _service(self, predictor: str) -> str:
        return f"{self._name}-{predictor}-predictor"

    def _inference_service(self) -> Manifest | None:
        return self._cluster.get("InferenceService", self._name)

    def _route(self) -> Manifest | None:
        return self._cluster.get("HTTPRoute", self._name)

    def _existing_route(self) -> Manifest:
        route = self._route()
        if route is None:
            raise StepFailed(
                f"KServe created no HTTPRoute {self._name!r}; look at 'kubectl describe isvc {self._name}'."
            )
        return route

    def _canary(self, version: str) -> Manifest | None:
        canaries = (self._inference_service() or {"spec": {}})["spec"].get("canary") or []
        return next((canary for canary in canaries if canary["predictor"]["name"] == f"v{version}"), None)

    def _set_canary(self, journal: ReleaseJournal, *, pods: int, percent: int, min_replicas: int | None) -> None:
        objects = objects_of(journal)
        scale = None
        if min_replicas is not None:
            scale = {"minReplicas": min_replicas, "maxReplicas": max(min_replicas, objects.scale[1])}
        self._merge_canary([_canary_entry(objects.service["spec"]["predictor"], pods, percent)], scale)

    def _merge_canary(self, canary: list[Manifest], predictor: Manifest | None = None) -> None:
        change: Manifest = {"canary": canary, **({"predictor": predictor} if predictor else {})}
        self._cluster.merge("InferenceService", self._name, {"spec": change})

    def _await_only(self, version: str, problem: str) -> None:
        service = self.service(version)
        self._await_routes(lambda route: routes.leads_to(route, service, only=True), problem)

    def _await_routes(self, condition: routes.Condition, problem: str) -> None:
        """Wait for both of KServe's routes, that of the service and that of its predictor."""
        self._ingress.await_route(self._name, condition, problem)
        inner = f"{self._name}-predictor"
        if self._cluster.get("HTTPRoute", inner) is not None:
            self._ingress.await_route(inner, condition, problem)

    def _delete(self, version: str) -> None:
        self._cluster.delete("InferenceService", self._name)
        self._pace.until(
            lambda: self._inference_service() is None and self._route() is None,
            self._pace.route_s,
            f"the InferenceService {self._name!r} was not deleted with its route",
        )
        self._await_gone(self.service(version))

    def _await_gone(self, service: str) -> None:
        self._pace.until(lambda: self._pods.gone(service), self._pace.route_s, f"{service!r} was not removed")


def is_unknown_field(message: str) -> bool:
    """Return whether an API server refuses the fields of a canary because its schema does not have them.

    >>> is_unknown_field("failed to create typed patch object (/x; ...): .spec.canary: field not declared in schema")
    True
    >>> is_unknown_field('strict decoding error: unknown field "spec.predictor.modle"')
    False
    """
    about_canary = re.search(r"\.?spec\.(canary|predictor\.name)\b", message)
    return about_canary is not None and ("not declared in schema" in message or "unknown field" in message)


def _canary_entry(predictor: Manifest, pods: int, percent: int) -> Manifest:
    copied: dict[str, Any] = {key: value for key, value in predictor.items() if key not in _NOT_FOR_CANARIES}
    # Unlike the predictor's, a canary's model must have its container's name, according to the published schema.
    model = {"name": "kserve-container", **predictor["model"]}
    return {"predictor": {**copied, "model": model, "minReplicas": pods}, "trafficPercent": percent}


def _with_canary(service: Manifest, canary: list[Manifest]) -> Manifest:
    return {**service, "spec": {**service["spec"], "canary": canary}}


def _reference(parent: Manifest) -> Manifest:
    return {key: parent[key] for key in ("namespace", "name", "sectionName") if key in parent}
