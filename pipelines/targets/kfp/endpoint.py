"""The endpoint of a project on a cluster, as the command reaches it: through the API server that a kubeconfig names."""

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from components.shared.errors import InputError
from components.shared.project import Project
from components.shared.release.kserve.address import SCHEME, Address
from components.shared.release.kserve.leftovers import NamespaceCollected
from components.shared.release.kserve.release import ClusterRelease
from pipelines.targets.remote.releasing import RemoteEndpoint

if TYPE_CHECKING:
    from mlflow import MlflowClient


class ProjectEndpoint(RemoteEndpoint):
    """One project's endpoint.

    Args:
        address: ``kserve://...``
        project: The project.
        open_registry: Opens the registry, after the address is validated.
        gateway_url: The gateway as this machine reaches it; None is the address's ``ingress``.

    Raises:
        InputError: If the target's endpoint is none on a cluster, its address is wrong, or no cluster is configured.
    """

    def __init__(
        self, address: str, project: Project, open_registry: "Callable[[], MlflowClient]", gateway_url: str | None
    ) -> None:
        if not address.startswith(SCHEME):
            raise InputError(
                f"services.endpoint of the target is {address!r}, which this command does not reach; expected "
                "kserve://NAMESPACE."
            )
        Address.parse(address)
        self._release = ClusterRelease(
            address, project.name, open_registry(), start_s=project.serving.start_s, gateway_url=gateway_url
        )
        super().__init__(self._release)

    def collect(self, now: datetime, *, dry_run: bool) -> NamespaceCollected:
        """Remove what nothing needs of the models' namespace, see ``Leftovers.collect``."""
        return self._release.leftovers().collect(now, dry_run=dry_run)

    def account(self) -> str:
        """Return the account as which the API server knows this command."""
        return self._release.cluster.account()
