"""Remove what releases and tests left in a namespace: old models, runtimes that no model names, Leases of no model.

A ServingRuntime is named by its content and shared by the projects of a namespace, and a release applies it before the
model that names it. So runtimes are removed only while the Leases of all projects are held; a project whose first Lease
is created meanwhile gets its runtime back.
"""

import contextlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from components.shared.release.journal import ReleaseUnderWay
from components.shared.release.kserve import routes
from components.shared.release.kserve.cluster import ApiRefused, Cluster, Manifest
from components.shared.release.kserve.lease import ANNOTATION, LeaseJournalStore
from components.shared.release.kserve.objects import LABELS, PROJECT
from components.shared.release.pace import Pace

_OURS = ",".join(f"{key}={value}" for key, value in sorted(LABELS.items()))
_PREFIX = "perennial-"
_UNUSED = timedelta(days=1)
"""A Lease that nobody has renewed for so long, and whose model does not exist, is of a project that ended."""

_BUSY = "a release in the namespace {!r} is under way, so what earlier ones left stays; call again when it has ended"


@dataclass(frozen=True)
class NamespaceCollected:
    """What was removed (or would be), and one sentence for each thing that stays although it is not in use."""

    removed: tuple[str, ...]
    kept: tuple[str, ...]


class Leftovers:
    """What one namespace holds beyond the models that answer.

    Args:
        cluster: The namespace.
        name: Name of the project's service.
        project: The project, whose own old models are removed.
        holder: Who collects; unique to this process.
        pace: How long a Lease lasts.
    """

    def __init__(self, cluster: Cluster, name: str, project: str, holder: str, pace: Pace) -> None:
        self._cluster, self._name, self._project = cluster, name, project
        self._holder, self._pace = holder, pace

    def collect(self, now: datetime, *, dry_run: bool) -> NamespaceCollected:
        """Remove what nothing needs; a release under way keeps what it may need, whatever it is.

        Args:
            now: Says how old a Lease is.
            dry_run: Only return what would be removed; then no Lease is held either.

        Raises:
            StepFailed: If the API server refuses, or a Lease is lost.
        """
        removed: list[str] = []
        # Whoever holds a Lease below renews it.
        unused = {_name(lease) for lease in self._unused_leases() if now - _renewed(lease) > _UNUSED}
        try:
            with contextlib.nullcontext(()) if dry_run else self._alone() as held:
                removed += self._remove("InferenceService", self._old_models(), dry_run)
                removed += self._remove_runtimes(held, dry_run)
        except ReleaseUnderWay:
            return NamespaceCollected((), (_BUSY.format(self._cluster.namespace),))
        leases = [lease for lease in self._unused_leases() if _name(lease) in unused]
        return NamespaceCollected((*removed, *self._remove("Lease", leases, dry_run)), ())

    @contextlib.contextmanager
    def _alone(self) -> Iterator[tuple[str, ...]]:
        """Hold the Leases of all projects of the namespace, in one order; give their names.

        Raises:
            ReleaseUnderWay: If a process that is alive holds one of them.
        """
        names = sorted(lease["metadata"]["name"] for lease in self._cluster.find("Lease", labels=_OURS))
        stores = [
            LeaseJournalStore(self._cluster, name.removeprefix(_PREFIX), self._holder, self._pace) for name in names
        ]

        def check() -> None:
            for store in stores:
                store.check()

        with contextlib.ExitStack() as held:
            for store in stores:
                held.enter_context(store.hold())
            self._cluster.guard = check
            yield tuple(names)

    def _old_models(self) -> list[Manifest]:
        """Return the project's InferenceServices that are neither the public one nor in a route or a release."""
        if any(_journal(lease) for lease in self._leases(f"{_PREFIX}{self._name}")):
            return []
        route = self._cluster.get("HTTPRoute", self._name)
        answering = {service for rule in routes.weights(route) for service in rule}
        if not answering:
            # Somebody has removed the route; the models that it led to are not to follow.
            return []
        services = self._cluster.find("InferenceService", labels=f"{PROJECT}={self._project}")
        versions = [service for service in services if service["metadata"]["name"].startswith(f"{self._name}-v")]
        return [service for service in versions if f"{service['metadata']['name']}-predictor" not in answering]

    def _remove_runtimes(self, held: Sequence[str], dry_run: bool) -> list[str]:
        services = [service["spec"] for service in self._cluster.find("InferenceService")]
        named = set(_runtimes([*services, *map(_journal, self._leases())]))
        runtimes = self._cluster.find("ServingRuntime", labels=_OURS)
        unused = [runtime for runtime in runtimes if runtime["metadata"]["name"] not in named]
        removed = self._remove("ServingRuntime", unused, dry_run)
        if removed and not dry_run and any(_holder(lease) and _name(lease) not in held for lease in self._leases()):
            for runtime in unused:
                self._cluster.apply(_as_applied(runtime))
            return []
        return removed

    def _unused_leases(self) -> list[Manifest]:
        """Return the Leases of no model and without a release, which nobody holds."""
        models = {_name(service) for service in self._cluster.find("InferenceService")}
        models |= {_name(route) for route in self._cluster.find("HTTPRoute")}
        idle = [lease for lease in self._leases() if not _holder(lease) and _journal(lease) is None]
        return [lease for lease in idle if not any(_is_of(model, lease) for model in models)]

    def _leases(self, name: str | None = None) -> list[Manifest]:
        leases = self._cluster.find("Lease", labels=_OURS)
        return [lease for lease in leases if name in (None, _name(lease))]

    def _remove(self, kind: str, manifests: Iterable[Manifest], dry_run: bool) -> list[str]:
        """Delete objects as they were read; one that somebody has changed since stays."""
        removed = []
        for manifest in manifests:
            if not dry_run:
                try:
                    self._cluster.delete(kind, _name(manifest), version=manifest["metadata"]["resourceVersion"])
                except ApiRefused as refused:
                    if refused.status != 409:
                        raise
                    continue
            removed.append(f"{kind} {_name(manifest)}")
        return removed


def _name(manifest: Manifest) -> str:
    return str(manifest["metadata"]["name"])


def _holder(lease: Manifest) -> str | None:
    return lease["spec"].get("holderIdentity") or None


def _journal(lease: Manifest) -> Any:
    """Return the release that a Lease tells of, as plain values: one of another version of Perennial counts as well."""
    text = (lease["metadata"].get("annotations") or {}).get(ANNOTATION)
    return None if text is None else json.loads(text)


def _is_of(model: str, lease: Manifest) -> bool:
    """Return whether a service or route has the name of a Lease's project, or of a version of its."""
    project = _name(lease).removeprefix(_PREFIX)
    return model == project or model.startswith(f"{project}-v")


def _renewed(lease: Manifest) -> datetime:
    return datetime.fromisoformat(lease["spec"].get("renewTime") or lease["metadata"]["creationTimestamp"])


def _runtimes(value: Any) -> Iterator[str]:
    """Name the ServingRuntimes that a document mentions, at whatever depth.

    >>> sorted(_runtimes({"predictor": {"model": {"runtime": "a"}}, "canary": [{"model": {"runtime": "b"}}]}))
    ['a', 'b']
    """
    if isinstance(value, dict):
        if value.get("kind") == "ServingRuntime":
            yield _name(value)
        for key, inner in value.items():
            if key == "runtime" and isinstance(inner, str):
                yield inner
            else:
                yield from _runtimes(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _runtimes(inner)


def _as_applied(manifest: Manifest) -> Manifest:
    """Return what was once applied of an object that the API server has filled in."""
    metadata = {key: manifest["metadata"][key] for key in ("name", "labels")}
    return {key: manifest[key] for key in ("apiVersion", "kind", "spec")} | {"metadata": metadata}
