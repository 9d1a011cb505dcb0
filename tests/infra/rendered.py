"""The rendered manifests, and who may talk to whom by their network policies."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
INFRA = ROOT / "infra"
OVERLAYS = ("kind", "production")
WORKLOADS = ("Deployment", "StatefulSet")


def documents(overlay: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((INFRA / "rendered" / f"{overlay}.yaml").read_text()))


def of_kind(documents: list[dict[str, Any]], *kinds: str) -> list[dict[str, Any]]:
    return [document for document in documents if document["kind"] in kinds]


def title(document: dict[str, Any]) -> str:
    metadata = document["metadata"]
    return f"{document['kind']} {metadata.get('namespace', '-')}/{metadata['name']}"


def containers(workload: dict[str, Any]) -> list[dict[str, Any]]:
    pod = workload["spec"]["template"]["spec"]
    return [*pod.get("initContainers", []), *pod["containers"]]


@dataclass(frozen=True)
class Pod:
    """What a network policy sees of a pod."""

    namespace: str
    labels: dict[str, str] = field(default_factory=dict)
    namespace_labels: dict[str, str] = field(default_factory=dict)


def pods(documents: list[dict[str, Any]]) -> dict[str, Pod]:
    """The pods of all workloads, by their workload's name."""
    return {
        workload["metadata"]["name"]: Pod(
            workload["metadata"]["namespace"], workload["spec"]["template"]["metadata"]["labels"]
        )
        for workload in of_kind(documents, *WORKLOADS)
    }


def selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    """Whether a label selector, as policies, services and budgets use it, takes these labels."""
    for expression in selector.get("matchExpressions", []):
        assert expression["operator"] == "Exists", "the tests know no other operator"
        if expression["key"] not in labels:
            return False
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())


def allowed(documents: list[dict[str, Any]], source: Pod, target: Pod, port: int, protocol: str = "TCP") -> bool:
    """Whether the source may open a connection: granted at both ends, where a policy selects them."""
    leaves = _granted(documents, source, "Egress", "to", target, port, protocol)
    return leaves and _granted(documents, target, "Ingress", "from", source, port, protocol)


def _granted(
    documents: list[dict[str, Any]], own: Pod, way: str, peers: str, other: Pod, port: int, protocol: str
) -> bool:
    rules = list(_rules(documents, own, way))
    if not rules:
        return True
    for policy, rule in ((policy, rule) for policy, found in rules for rule in found):
        open_ports = {(entry.get("protocol", "TCP"), entry["port"]) for entry in rule["ports"]}
        if (protocol, port) in open_ports and any(_is(peer, other, policy) for peer in rule[peers]):
            return True
    return False


def _rules(documents: list[dict[str, Any]], own: Pod, way: str) -> Iterator[tuple[Any, list[Any]]]:
    for policy in of_kind(documents, "NetworkPolicy"):
        spec = policy["spec"]
        here = policy["metadata"]["namespace"] == own.namespace
        if here and way in spec["policyTypes"] and selects(spec["podSelector"], own.labels):
            yield policy, spec.get(way.lower(), [])


def _is(peer: dict[str, Any], other: Pod, policy: dict[str, Any]) -> bool:
    if "ipBlock" in peer:
        # Outside of the cluster, or its API server: never one of our pods.
        return other.namespace == "outside"
    if "namespaceSelector" in peer:
        labels = {"kubernetes.io/metadata.name": other.namespace, **other.namespace_labels}
        if not selects(peer["namespaceSelector"], labels):
            return False
    elif policy["metadata"]["namespace"] != other.namespace:
        return False
    return selects(peer.get("podSelector", {}), other.labels)
