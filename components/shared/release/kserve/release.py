"""Release to a namespace that KServe watches."""

import os
import socket
import uuid
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from components.shared.documents.release import RegisteredVersion
from components.shared.errors import InputError
from components.shared.release.champion_alias import MlflowChampionAlias
from components.shared.release.driver import ReleaseDriver
from components.shared.release.kserve.address import Address
from components.shared.release.kserve.cluster import Cluster, Manifest
from components.shared.release.kserve.lease import LeaseJournalStore
from components.shared.release.kserve.leftovers import Leftovers
from components.shared.release.kserve.objects import resource_name
from components.shared.release.kserve.traffic import ClusterTraffic
from components.shared.release.pace import Pace
from components.shared.release.sample import Sample

if TYPE_CHECKING:
    from mlflow import MlflowClient


def read_objects(manifests: Path) -> tuple[Manifest, Manifest]:
    """Return the InferenceService and the ServingRuntime of a release's folder."""
    service, runtime = (
        yaml.safe_load((manifests / f"{kind}.yaml").read_text(encoding="utf-8"))
        for kind in ("inferenceservice", "servingruntime")
    )
    return service, runtime


def check_readable(release: RegisteredVersion) -> None:
    """Refuse a version whose package no pod could read.

    Raises:
        InputError: If it is a folder of one machine.
    """
    if release.storage_uri.startswith("file:"):
        raise InputError(
            f"the registry keeps the model at {release.storage_uri}, where no pod can read it; "
            "use a registry whose artifacts are in a bucket (s3://...)."
        )


class ClusterRelease:
    """The releases of one project in a namespace.

    Args:
        endpoint: ``kserve://<namespace>?...``
        project: Name of the project, and of its registered model.
        client: The registry.
        manifests: The candidate's folder, with its InferenceService and ServingRuntime; None where no release begins.
        start_s: Longest until the pods are ready, in seconds.
        pace: Other times.
        gateway_url: The gateway's address as this process reaches it; None is the endpoint's ``ingress``.

    Raises:
        InputError: If the address is wrong, or no cluster is configured here.
    """

    def __init__(
        self,
        endpoint: str,
        project: str,
        client: "MlflowClient",
        *,
        start_s: float,
        manifests: Path | None = None,
        pace: Pace | None = None,
        gateway_url: str | None = None,
    ) -> None:
        address = Address.parse(endpoint)
        if gateway_url is not None:
            address = replace(address, ingress=gateway_url)
        pace = replace(pace or Pace(), start_s=start_s)
        name = resource_name(project)
        holder = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:6]}"
        self._client, self.cluster = client, Cluster(address.namespace)
        self._leftovers = Leftovers(self.cluster, name, project, holder, pace)
        self.journal = LeaseJournalStore(self.cluster, name, holder, pace)
        objects = None if manifests is None else read_objects(manifests)
        self.traffic = ClusterTraffic(self.cluster, name, project, address, pace, objects)

    def leftovers(self) -> Leftovers:
        """Return what removes what earlier releases left in the namespace."""
        return self._leftovers

    def driver(self) -> ReleaseDriver:
        """Return what carries releases out."""
        alias = MlflowChampionAlias(self._client)
        return ReleaseDriver(self.traffic, alias, self.journal, lambda version: Sample.of(version, self._client))
