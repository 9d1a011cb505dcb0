"""HTTPRoutes: which Services a route leads to, with which weights, and whether the gateway has taken that up.

The weights are the truth about who answers; the status of an InferenceService is not.
"""

from typing import Any

from components.deployment.kserve.cluster import Document

_PORT = 80
_LABELS = {"app.kubernetes.io/managed-by": "perennial", "app.kubernetes.io/part-of": "perennial"}


def document(name: str, host: str, parents: list[Document], weights: dict[str, int], project: str) -> Document:
    """Describe a route from a hostname to Services."""
    backends = [{"name": service, "port": _PORT, "weight": weight} for service, weight in weights.items()]
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": name, "labels": {**_LABELS, "perennial/project": project}},
        "spec": {"parentRefs": parents, "hostnames": [host], "rules": [{"backendRefs": backends}]},
    }


def parent(gateway: tuple[str, str]) -> Document:
    """Name the gateway that a route hangs on."""
    return {"namespace": gateway[0], "name": gateway[1]}


def weights(route: Document | None) -> list[dict[str, int]]:
    """Return the Services of each rule with their weights.

    >>> weights({"spec": {"rules": [{"backendRefs": [{"name": "a", "weight": 0}, {"name": "b"}]}]}})
    [{'a': 0, 'b': 1}]
    """
    rules: list[dict[str, Any]] = route["spec"].get("rules", []) if route else []
    return [{ref["name"]: ref.get("weight", 1) for ref in rule.get("backendRefs", [])} for rule in rules]


def leads_to(route: Document | None, service: str, *, only: bool = False) -> bool:
    """Say whether every request goes to one Service (``only``: and no other is named)."""
    found = weights(route)
    return bool(found) and all(
        rule.get(service, 0) > 0
        and all(weight == 0 for name, weight in rule.items() if name != service)
        and (not only or rule.keys() == {service})
        for rule in found
    )


def names(route: Document | None, service: str) -> bool:
    """Say whether every rule names a Service, with whatever weight."""
    found = weights(route)
    return bool(found) and all(service in rule for rule in found)


def accepted(route: Document | None) -> bool:
    """Say whether a gateway has taken up the route as it is now."""
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


def refusal(route: Document | None) -> str:
    """Return what the gateway has against the route, in its words."""
    if route is None:
        return "there is no such route"
    for status in route.get("status", {}).get("parents", []):
        for condition in status.get("conditions", []):
            if condition.get("status") == "False":
                return f"{condition.get('reason')}: {condition.get('message')}"
    return "no gateway has taken it up"
