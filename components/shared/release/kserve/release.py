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


def driver(
    endpoint: str,
    release: RegisteredVersion,
    client: "MlflowClient",
    *,
    manifests: Path,
    start_s: float,
    pace: Pace | None = None,
) -> ReleaseDriver:
    """Return what releases to a namespace.

    Args:
        endpoint: ``kserve://<namespace>?...``
        release: What is to be released.
        client: The registry.
        manifests: The release's folder, with its InferenceService and ServingRuntime.
        start_s: Longest until the pods are ready, in seconds.
        pace: Other times; default: those of ``Pace``.

    Raises:
        InputError: If no pod could read the package, or the address is wrong.
    """
    if release.storage_uri.startswith("file:"):
        raise InputError(
            f"the registry keeps the model at {release.storage_uri}, where no pod can read it; "
            "use a registry whose artifacts are in a bucket (s3://...)."
        )
    address = Address.parse(endpoint)
    pace = replace(pace or Pace(), start_s=start_s)
    cluster = Cluster(address.namespace)
    service, runtime = read_objects(manifests)
    name = service["metadata"]["name"]
    holder = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:6]}"
    return ReleaseDriver(
        ClusterTraffic(cluster, name, address, pace, service, runtime),
        MlflowChampionAlias(client),
        LeaseJournalStore(cluster, name, holder, pace),
        lambda version: Sample.of(version, client),
    )
