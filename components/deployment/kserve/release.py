"""The order of a release on a cluster, and what happens to one that was cut short.

Beside the champion, asked alone, the alias (the commit point), the traffic, asked publicly, the names. Until the names
change, everything can be taken back; the alias says whether a release that was killed is finished or taken back.
"""

import logging
import os
import socket
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from components.deployment.kserve import canary, services
from components.deployment.kserve.address import Address
from components.deployment.kserve.canary import Canary
from components.deployment.kserve.cluster import Cluster
from components.deployment.kserve.ingress import Ingress
from components.deployment.kserve.journal import Entry, Journal
from components.deployment.kserve.pace import Pace
from components.deployment.kserve.pods import Pods
from components.deployment.kserve.services import Services
from components.deployment.sample import Sample
from components.shared import registry
from components.shared.errors import InputError, StepFailed

logger = logging.getLogger(__name__)

_PROJECT = "perennial/project"


def release(
    manifests: Path, plan: dict[str, Any], client: Any, endpoint: str, start_s: float, pace: Pace | None = None
) -> str:
    """Release into a namespace; the former champion keeps answering where it fails.

    Args:
        manifests: The release's folder.
        plan: Its ``release.json``.
        client: The registry.
        endpoint: ``kserve://<namespace>?...``
        start_s: Longest until the pods answer.
        pace: Other times; default: those of ``Pace``.
    """
    if str(plan["storage_uri"]).startswith("file:"):
        raise InputError(
            f"The registry keeps the model at {plan['storage_uri']}, where no pod can read it; "
            "use a registry whose artifacts lie in a bucket (s3://...)."
        )
    address = Address.parse(endpoint)
    pace = replace(pace or Pace(), start_s=start_s)
    cluster = Cluster(address.namespace)
    documents = {
        kind: yaml.safe_load((manifests / f"{kind}.yaml").read_text(encoding="utf-8"))
        for kind in ("inferenceservice", "servingruntime")
    }
    name = documents["inferenceservice"]["metadata"]["name"]
    holder = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:6]}"
    with Journal(cluster, name, holder, pace) as journal:
        return Releasing(cluster, name, address, pace, journal, client).release(plan, documents)


class Releasing:
    """One project's releases, while its Lease is held."""

    def __init__(
        self, cluster: Cluster, name: str, address: Address, pace: Pace, journal: Journal, client: Any
    ) -> None:
        self._cluster, self._name, self._journal, self._client = cluster, name, journal, client
        self._ingress = Ingress(cluster, address, pace)
        pods = Pods(cluster, pace)
        self._pods = pods
        self._canary = Canary(cluster, name, self._ingress, pods, pace)
        self._services = Services(cluster, name, self._ingress, pods, pace)

    def release(self, plan: dict[str, Any], documents: dict[str, Any]) -> str:
        """Finish or take back what was cut short, then release."""
        self._check_owner(plan["name"])
        if (cut_short := self._journal.entry) is not None:
            self._recover(cut_short)
        champion = registry.champion(self._client, plan["name"])
        way = self._chosen()
        former = None if way is None else way.answering()
        if former == champion == plan["version"]:
            return "unchanged"
        if former == plan["version"]:
            raise StepFailed(
                f"Release {former} answers already, though the registry's champion is {champion}; "
                "let the alias 'champion' name it, or release another version."
            )
        sample = Sample.of(plan, self._client)
        entry = Entry(
            name=plan["name"],
            version=plan["version"],
            storage_uri=plan["storage_uri"],
            former=former,
            former_champion=champion,
            way=services.WAY if way is self._services else canary.WAY,
            pods=max(1, self._pods.scale(way.service(former))) if way is not None and former is not None else 1,
            scale=way.scale() if way is not None else (1, 1),
            service=documents["inferenceservice"],
            runtime=documents["servingruntime"],
        )
        if former is None:
            least = int(entry.service["spec"]["predictor"].get("minReplicas", 1))
            entry = replace(entry, pods=least)
        self._attempt(entry, sample)
        logger.info("release %s of %s answers at %s", entry.version, entry.name, self._way(entry).host())
        return "released"

    def _attempt(self, entry: Entry, sample: Sample) -> None:
        self._journal.write(entry)
        try:
            entry = self._decided(entry)
            way = self._way(entry)
            way.place(entry)
            self._ingress.ask_alone(sample, way.service(entry.version), way.host(), way.parents())
            way.widen(entry)
            registry.move_alias(self._client, entry.name, registry.CHAMPION, entry.version)
            self._finish(entry, sample)
        except BaseException as failure:
            self._take_back(entry, failure)
            if isinstance(failure, StepFailed | InputError) or not isinstance(failure, Exception):
                raise
            raise StepFailed(f"Release {entry.version} failed and is taken back: {_line(failure)}") from failure
        self._rename(entry)

    def _finish(self, entry: Entry, sample: Sample) -> None:
        """Send the traffic to a release that has the alias, and see that it answers."""
        way = self._way(entry)
        way.switch(entry)
        self._ingress.ask_publicly(sample, way.host(), way.parents())

    def _rename(self, entry: Entry) -> None:
        """Names afterwards; from here on there is no way back, only to the end."""
        try:
            self._way(entry).rename(entry)
            self._ingress.forget(self._way(entry).service(entry.version))
        except StepFailed as failed:
            raise StepFailed(
                f"Release {entry.version} answers, but what it left behind could not be tidied up: {failed} "
                "Run again, that finishes it."
            ) from failed
        self._journal.write(None)

    def _recover(self, entry: Entry) -> None:
        if entry.undoing or registry.champion(self._client, entry.name) != entry.version:
            self._undo(entry)
            logger.info("release %s of %s is taken back", entry.version, entry.name)
            return
        if entry.former is None or not self._way(entry).switched(entry):
            self._resume(entry)
        self._rename(entry)
        logger.info("release %s of %s is finished", entry.version, entry.name)

    def _resume(self, entry: Entry) -> None:
        """Go on with a release that has the alias, from wherever it was killed."""
        plan = {"name": entry.name, "version": entry.version, "storage_uri": entry.storage_uri}
        try:
            sample = Sample.of(plan, self._client)
            way = self._way(entry)
            way.place(entry)
            way.widen(entry)
            self._finish(entry, sample)
        except BaseException as failure:
            self._take_back(entry, failure)
            raise

    def _take_back(self, entry: Entry, failure: BaseException) -> None:
        """Undo the release; where even that fails, the journal stays and the next release takes it back."""
        try:
            self._undo(entry)
        except Exception as broken:
            raise StepFailed(
                f"Release {entry.version} failed ({_line(failure)}) and could not be taken back ({_line(broken)}); "
                "mend that, the next release takes it back."
            ) from failure

    def _undo(self, entry: Entry) -> None:
        """Traffic first, then the alias, then the pods; safe to repeat."""
        way = self._way(entry)
        if entry.former is not None and way.switched(entry):
            raise StepFailed(f"it has taken over and release {entry.former} is gone; release that one again")
        entry = self._journal.mark_undoing(entry)
        self._ingress.forget(way.service(entry.version))
        way.back(entry)
        if registry.champion(self._client, entry.name) == entry.version:
            registry.move_alias(self._client, entry.name, registry.CHAMPION, entry.former_champion)
        way.remove(entry)
        self._journal.write(None)

    def _decided(self, entry: Entry) -> Entry:
        """Choose the way of a project at its first release; later the objects that are there say it."""
        if entry.former is not None:
            return entry
        if self._canary.known(entry):
            self._canary.stand(entry)
            if self._canary.routed(entry):
                return entry
            self._canary.remove(entry)
        logger.info("this KServe does not route by spec.canary: two services behind a route of our own")
        entry = replace(entry, way=services.WAY)
        self._journal.write(entry)
        return entry

    def _way(self, entry: Entry) -> Canary | Services:
        return self._canary if entry.way == canary.WAY else self._services

    def _chosen(self) -> Canary | Services | None:
        """Return the way of the release that answers, None before the first."""
        for way in (self._canary, self._services):
            if way.answering() is not None:
                return way
        return None

    def _check_owner(self, project: str) -> None:
        """Refuse to touch what somebody else made under this name."""
        for kind in ("InferenceService", "HTTPRoute"):
            found = self._cluster.get(kind, self._name)
            if found is None:
                continue
            owner = (found["metadata"].get("labels") or {}).get(_PROJECT)
            if owner != project:
                raise StepFailed(
                    f"There is a {kind} {self._name!r} in namespace {self._cluster.namespace!r} that is not this "
                    "project's; delete or rename it, or give the project another name."
                )


def _line(failure: BaseException) -> str:
    """Return a sentence of ours as it is, and anybody else's on one line with its kind."""
    return str(failure) if isinstance(failure, StepFailed) else " ".join(f"{type(failure).__name__}: {failure}".split())
