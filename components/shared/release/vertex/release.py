"""Release to an endpoint of Vertex AI.

The SDK (google-cloud-aiplatform) is the only official package with the protos of Vertex AI; it is imported when an
endpoint is opened, never before.
"""

import os
import socket
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from components.shared import cloud_storage
from components.shared.cloud_storage import CloudStorage
from components.shared.project import Project
from components.shared.release.champion_alias import MlflowChampionAlias
from components.shared.release.driver import LateOutcomes, ReleaseDriver
from components.shared.release.journal import ReleaseJournal
from components.shared.release.kserve.objects import resource_name
from components.shared.release.kserve.release import read_objects
from components.shared.release.pace import Pace
from components.shared.release.sample import Sample
from components.shared.release.vertex.address import Address
from components.shared.release.vertex.bucket_journal import BucketJournalStore
from components.shared.release.vertex.container import Capacity, Container
from components.shared.release.vertex.monitoring import RequestCounts
from components.shared.release.vertex.package import PackageStore
from components.shared.release.vertex.traffic import VertexTraffic
from components.shared.vertex import Connection

if TYPE_CHECKING:
    from mlflow import MlflowClient

PACE = Pace(start_s=3600.0, route_s=600.0, lease_s=60.0, poll_s=2.0)
"""The project's own time to start comes on top of what Vertex AI takes for machines, which are many minutes."""


class VertexRelease:
    """The releases of one project at one endpoint.

    Args:
        endpoint: ``vertex://<project>/<region>[/<endpoint>]?bucket=...``
        project: Whose model it is.
        client: The registry.
        manifests: The candidate's release folder; None if the version was uploaded before.
        pace: How long each thing may take; None is ``PACE`` and the project's ``serving.start_s``.

    Raises:
        InputError: If the address is wrong, or there are no credentials.
    """

    def __init__(
        self,
        endpoint: str,
        project: Project,
        client: "MlflowClient",
        manifests: Path | None = None,
        pace: Pace | None = None,
    ) -> None:
        address = Address.parse(endpoint)
        pace = pace or replace(PACE, start_s=PACE.start_s + project.serving.start_s)
        name = address.endpoint or resource_name(project.name)
        connection = Connection(address.project, address.region, address.api)
        storage = CloudStorage(cloud_storage.open_session(cloud_storage.WRITE), address.storage)
        holder = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:6]}"
        self._client = client
        self.journal = BucketJournalStore(storage, f"{address.bucket}/releases/{name}.json", holder, pace)
        connection.guard = self.journal.check
        self.traffic = VertexTraffic(
            connection,
            name,
            project.name,
            pace,
            PackageStore(storage, address.bucket, client),
            Capacity.of(project.serving, address.machine, address.service_account),
            RequestCounts(connection, address.monitoring),
            None if manifests is None else Container.of(project.name, *read_objects(manifests)),
        )

    def driver(
        self, outcomes: Callable[[ReleaseJournal, datetime], LateOutcomes | None] | None = None
    ) -> ReleaseDriver:
        """Return what carries releases out.

        Args:
            outcomes: Reads what labels or outcomes say of a release that is exposed; None where nobody can.
        """
        alias = MlflowChampionAlias(self._client)
        return ReleaseDriver(
            self.traffic, alias, self.journal, lambda version: Sample.of(version, self._client), outcomes=outcomes
        )
