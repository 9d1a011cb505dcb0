"""HTTPRoutes: which Services a route leads to, with which weights, and whether the gateway has adopted it.

The weights are the truth about who answers; the status of an InferenceService is not.
"""

from collections.abc import Callable
from typing import Any

from components.shared.release.kserve.cluster import Manifest
from components.shared.release.kserve.objects import LABELS, PROJECT

Condition = Callable[[Manifest | None], bool]

_PORT = 80


def document(
    name: str, host: str, parents: list[Manifest], weights: dict[str, int], project: str, mirror: str | None = None
) -> Manifest:
    """Describe a route from a hostname to Services.

    Args:
        name: Of the route.
        host: The hostname.
        parents: The gateway.
        weights: Service to weight.
        project: Whose route it is.
        mirror: Service that receives a copy of each request; its answers go nowhere.
    """
    rule: Manifest = {
        "backendRefs": [{"name": service, "port": _PORT, "weight": weight} for service, weight in weights.items()]
    }
    if mirror is not None:
        copies = {"backendRef": {"name": mirror, "port": _PORT}}
        rule["filters"] = [{"type": "RequestMirror", "requestMirror": copies}]
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": name, "labels": {**LABELS, PROJECT: project}},
        "spec": {"parentRefs": parents, "hostnames": [host], "rules": [rule]},
    }


def parent(gateway: tuple[str, str]) -> Manifest:
    """Name the gateway that a route is attached to."""
    return {"namespace": gateway[0], "name": gateway[1]}


def weights(route: Manifest | None) -> list[dict[str, int]]:
    """Return the Services of each rule with their weights.

    >>> weights({"spec": {"rules": [{"backendRefs": [{"name": "a", "weight": 0}, {"name": "b"}]}]}})
    [{'a': 0, 'b': 1}]
    """
    return [{ref["name"]: ref.get("weight", 1) for ref in rule.get("backendRefs", [])} for rule in _rules(route)]


def share(route: Manifest | None, service: str) -> int | None:
    """Return the percentage of the requests that a Service gets; None if the rules differ, or there are none.

    >>> share({"spec": {"rules": [{"backendRefs": [{"name": "a", "weight": 4}, {"name": "b", "weight": 1}]}]}}, "b")
    20
    """
    shares = {round(100 * rule.get(service, 0) / sum(rule.values())) for rule in weights(route) if sum(rule.values())}
    return shares.pop() if len(shares) == 1 else None


def mirrors(route: Manifest | None) -> list[str]:
    """Return the Services that receive copies."""
    filters = [entry for rule in _rules(route) for entry in rule.get("filters", [])]
    return [entry["requestMirror"]["backendRef"]["name"] for entry in filters if entry["type"] == "RequestMirror"]


def leads_to(route: Manifest | None, service: str, *, only: bool = False) -> bool:
    """Return whether every request goes to one Service (``only``: and no other is named)."""
    rules = weights(route)
    return bool(rules) and all(
        rule.get(service, 0) > 0
        and all(weight == 0 for name, weight in rule.items() if name != service)
        and (not only or rule.keys() == {service})
        for rule in rules
    )


def names(route: Manifest | None, service: str) -> bool:
    """Return whether every rule names a Service, with whatever weight."""
    rules = weights(route)
    return bool(rules) and all(service in rule for rule in rules)


def accepted(route: Manifest | None) -> bool:
    """Return whether a gateway has adopted the route as it is now."""
    if route is None:
        return False
    generation = route["metadata"].get("generation")
    for status in route.get("status", {}).get("parents", []):
        conditions = {condition["type"]: condition for condition in status.get("conditions", [])}
        good = all(conditions.get(kind, {}).get("status") == "True" for kind in ("Accepted", "ResolvedRefs"))
        if good and all(
            condition.get("observedGeneration", generation) == generation for condition in conditions.values()
        ):
            return True
    return False


def refusal(route: Manifest | None) -> str:
    """Return why the gateway does not accept the route, in its own words."""
    if route is None:
        return "there is no such route"
    for status in route.get("status", {}).get("parents", []):
        for condition in status.get("conditions", []):
            if condition.get("status") == "False":
                return f"{condition.get('reason')}: {condition.get('message')}"
    return "no gateway has adopted it"


def _rules(route: Manifest | None) -> list[dict[str, Any]]:
    return route["spec"].get("rules", []) if route else []
