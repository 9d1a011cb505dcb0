"""Release inside one InferenceService, with the candidate as its canary: for a KServe that routes by ``spec.canary``.

KServe owns the route and writes the weights; they are read there. A canary has a fixed number of pods, and KServe takes
as many from the champion's smallest number, whatever the weights: what it would take is added before.
"""

import copy
import re
from typing import Any

from components.deployment.kserve import routes
from components.deployment.kserve.cluster import Cluster, Document, Refused
from components.deployment.kserve.ingress import Ingress
from components.deployment.kserve.journal import Entry
from components.deployment.kserve.pace import Pace
from components.deployment.kserve.pods import Pods
from components.shared.errors import StepFailed

WAY = "canary"
_PROBE = "probe"
# KServe scales no canary.
_NOT_OF_A_CANARY = ("maxReplicas", "scaleMetric", "scaleTarget")


class Canary:
    """One InferenceService; the release that answers is its predictor, the candidate its canary."""

    def __init__(self, cluster: Cluster, name: str, ingress: Ingress, pods: Pods, pace: Pace) -> None:
        self._cluster, self._name, self._ingress, self._pods, self._pace = cluster, name, ingress, pods, pace

    def answering(self) -> str | None:
        """Return the version whose name the service has."""
        live = self._live()
        return None if live is None else str(live["spec"]["predictor"]["name"]).removeprefix("v")

    def service(self, version: str) -> str:
        """Return KServe's name of a version's Service."""
        return self._service(f"v{version}")

    def scale(self) -> tuple[int, int]:
        """Return the smallest and largest number of pods that the service is set to."""
        predictor = (self._live() or {"spec": {"predictor": {}}})["spec"]["predictor"]
        least = int(predictor.get("minReplicas", 1))
        return least, max(least, int(predictor.get("maxReplicas", least)))

    def parents(self) -> list[Document]:
        """Name the gateway that KServe's own route hangs on."""
        return [self._simple(parent) for parent in self._route()["spec"]["parentRefs"]]

    def host(self) -> str:
        """Return the public hostname that KServe gave the service."""
        return str(self._route()["spec"]["hostnames"][0])

    def place(self, entry: Entry) -> None:
        """Let the candidate stand beside the champion, without traffic, until KServe's route knows it."""
        self.stand(entry)
        service = self.service(entry.version)
        self._ingress.await_route(
            self._name,
            lambda route: routes.names(route, service),
            f"Release {entry.version} is ready, but KServe's route {self._name!r} does not name its Service",
        )

    def stand(self, entry: Entry) -> None:
        """Bring the candidate's pods up, without traffic."""
        self._cluster.apply(entry.runtime)
        if entry.former is None:
            self._cluster.apply(_with_canary(entry.service, []))
        elif self._canary(entry.version) is None:
            self._set_canary(entry, pods=1, percent=0, least=entry.pods + 1 if entry.pods > 1 else None)
        self._pods.wait(self.service(entry.version), self._name, entry.version)

    def widen(self, entry: Entry) -> None:
        """Give the candidate as many pods as the champion has."""
        if entry.former is not None and entry.pods > 1:
            percent = (self._canary(entry.version) or {"trafficPercent": 0})["trafficPercent"]
            self._set_canary(entry, pods=entry.pods, percent=percent, least=2 * entry.pods)
            self._pods.wait(self.service(entry.version), self._name, entry.version, entry.pods)

    def switched(self, entry: Entry) -> bool:
        """Say whether the service already has the candidate's name."""
        live = self._live()
        return live is not None and live["spec"]["predictor"]["name"] == f"v{entry.version}"

    def switch(self, entry: Entry) -> None:
        """Send all traffic to the candidate and wait until KServe's routes say so."""
        if entry.former is not None:
            self._set_percent(entry.version, 100)
            self._await(entry.version, f"KServe's route did not come to send everything to release {entry.version}")

    def rename(self, entry: Entry) -> None:
        """Let the service have the candidate's name; the former release goes."""
        self._cluster.apply(_with_canary(entry.service, []))
        if entry.former is not None and entry.former != entry.version:
            self._await(entry.version, f"KServe's route still names release {entry.former}", only=True)
            former = self.service(entry.former)
            self._pace.until(
                lambda: self._pods.gone(former), self._pace.route_s, f"Release {entry.former} was not removed"
            )

    def back(self, entry: Entry) -> None:
        """Send all traffic to the champion again."""
        canary = self._canary(entry.version)
        if entry.former is not None and canary is not None and canary["trafficPercent"] > 0:
            self._set_percent(entry.version, 0)
            self._await(entry.former, f"KServe's route did not come back to release {entry.former}")

    def remove(self, entry: Entry) -> None:
        """Take the candidate away."""
        if entry.former is None:
            self._delete(entry.version)
            return
        least, most = entry.scale
        change = {"canary": [], "predictor": {"minReplicas": least, "maxReplicas": most}}
        self._cluster.merge("InferenceService", self._name, {"spec": change})
        self._await(entry.former, f"KServe's route still names release {entry.version}", only=True)
        self._await_gone(self.service(entry.version))

    def known(self, entry: Entry) -> bool:
        """Say whether the installed InferenceService has ``spec.canary`` and a predictor's name at all."""
        predictor = {**copy.deepcopy(entry.service["spec"]["predictor"]), "name": _PROBE}
        try:
            self._cluster.apply(_with_canary(entry.service, [_entry(predictor, 1, 0)]), dry_run=True)
        except Refused as refused:
            if unknown(str(refused)):
                return False
            raise
        return True

    def routed(self, entry: Entry) -> bool:
        """Find out whether this KServe really routes by ``spec.canary``, before there is any champion.

        The first release gets a twin as its canary; a controller that routes names it in the route once it is ready.
        """
        own = self.service(entry.version)
        if not self._pace.came(lambda: routes.names(self._found(), own), self._pace.route_s):
            return False
        predictor = {**copy.deepcopy(entry.service["spec"]["predictor"]), "name": _PROBE}
        twin = self._service(_PROBE)
        self._merge_canary([_entry(predictor, 1, 0)])
        try:
            self._pods.wait(twin, self._name, f"{entry.version} (a twin that shows whether canaries are routed)")
            return self._pace.came(lambda: routes.names(self._found(), twin), self._pace.route_s)
        except StepFailed:
            # No room for two: the other way needs no answer.
            return False
        finally:
            self._merge_canary([])
            self._await_gone(twin)

    def _service(self, predictor: str) -> str:
        return f"{self._name}-{predictor}-predictor"

    def _live(self) -> Document | None:
        return self._cluster.get("InferenceService", self._name)

    def _found(self) -> Document | None:
        return self._cluster.get("HTTPRoute", self._name)

    def _route(self) -> Document:
        route = self._found()
        if route is None:
            raise StepFailed(f"KServe made no route {self._name!r}; look at 'kubectl describe isvc {self._name}'.")
        return route

    def _canary(self, version: str) -> Document | None:
        canaries = (self._live() or {"spec": {}})["spec"].get("canary") or []
        return next((one for one in canaries if one["predictor"]["name"] == f"v{version}"), None)

    def _set_canary(self, entry: Entry, *, pods: int, percent: int, least: int | None) -> None:
        scale = {} if least is None else {"minReplicas": least, "maxReplicas": max(least, entry.scale[1])}
        self._merge_canary([_entry(entry.service["spec"]["predictor"], pods, percent)], scale)

    def _set_percent(self, version: str, percent: int) -> None:
        canary = self._canary(version)
        if canary is None:
            raise StepFailed(f"Release {version} is no longer beside the champion; somebody removed it, release again.")
        self._merge_canary([{**canary, "trafficPercent": percent}])

    def _merge_canary(self, canary: list[Document], predictor: Document | None = None) -> None:
        change: Document = {"canary": canary, **({"predictor": predictor} if predictor else {})}
        self._cluster.merge("InferenceService", self._name, {"spec": change})

    def _await(self, version: str, sentence: str, *, only: bool = False) -> None:
        """Wait for both routes of KServe's, that of the service and that of its predictor."""
        service = self.service(version)
        self._ingress.await_route(self._name, lambda route: routes.leads_to(route, service, only=only), sentence)
        inner = f"{self._name}-predictor"
        if self._cluster.get("HTTPRoute", inner) is not None:
            self._ingress.await_route(inner, lambda route: routes.leads_to(route, service, only=only), sentence)

    def _delete(self, version: str) -> None:
        self._cluster.delete("InferenceService", self._name)
        self._pace.until(
            lambda: self._live() is None and self._found() is None,
            self._pace.route_s,
            f"The service {self._name!r} was not deleted with its route",
        )
        self._await_gone(self.service(version))

    def _await_gone(self, service: str) -> None:
        self._pace.until(lambda: self._pods.gone(service), self._pace.route_s, f"{service!r} was not removed")

    @staticmethod
    def _simple(parent: Document) -> Document:
        return {key: parent[key] for key in ("namespace", "name", "sectionName") if key in parent}


def unknown(sentence: str) -> bool:
    """Say whether an API server refuses the fields of a canary because it has never heard of them.

    >>> unknown("failed to create typed patch object (/x; ...): .spec.canary: field not declared in schema")
    True
    >>> unknown('strict decoding error: unknown field "spec.predictor.modle"')
    False
    """
    about = re.search(r"\.?spec\.(canary|predictor\.name)\b", sentence)
    return about is not None and ("not declared in schema" in sentence or "unknown field" in sentence)


def _entry(predictor: Document, pods: int, percent: int) -> Document:
    own: dict[str, Any] = {key: value for key, value in predictor.items() if key not in _NOT_OF_A_CANARY}
    # Unlike the predictor's, a canary's model must have its container's name, says the published schema.
    model = {"name": "kserve-container", **predictor["model"]}
    return {"predictor": {**own, "model": model, "minReplicas": pods}, "trafficPercent": percent}


def _with_canary(service: Document, canary: list[Document]) -> Document:
    return {**service, "spec": {**service["spec"], "canary": canary}}
