"""A namespace with doubles of KServe's controller and of a gateway, and the step that releases into it."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from components.shared import registry
from components.shared.documents.release import RegisteredVersion
from components.shared.release.kserve.release import ClusterRelease, check_readable
from components.shared.release.pace import Pace
from components.shared.release.plan import BASIC, Plan
from tests.components.deployment import kserve_double as double
from tests.components.deployment.kserve_double import GATEWAY, SERVING, Behaviour
from tests.components.deployment.pod_server import PodServer

NAME = "made"
PACE = Pace(route_s=8, settle_s=0.3, stuck_s=1.0, lease_s=3, poll_s=0.1)
SCORES = [0.1, 0.2, 0.3]


def opened(folder: Path | None, client: Any, endpoint: str, start_s: float = 10, pace: Pace = PACE) -> ClusterRelease:
    """Open the namespace as the deployment step does, or as a command does, which has no folder."""
    return ClusterRelease(endpoint, NAME, client, start_s=start_s, manifests=folder, pace=pace)


def release_from(
    folder: Path,
    version: RegisteredVersion,
    client: Any,
    endpoint: str,
    start_s: float,
    pace: Pace,
    plan: Plan = BASIC,
) -> str:
    """Release as the deployment step does."""
    check_readable(version)
    return opened(folder, client, endpoint, start_s, pace).driver().release(version, plan)


class Place:
    """A namespace with its doubles, and the step that releases into it."""

    def __init__(self, api: double.Api, models: SimpleNamespace, behaviour: Behaviour) -> None:
        self.api, self.models, self.behaviour = api, models, behaviour
        self.controller = double.Controller(api, behaviour)
        self.controller.start()
        self.gateway = double.Gateway(self.controller, {version: SCORES for version in models.plans})
        self.host = f"{NAME}-{api.namespace}.{double.DOMAIN}"
        gateway = "/".join(double.PARENT[key] for key in ("namespace", "name"))
        self.endpoint = f"kserve://{api.namespace}?gateway={gateway}&ingress={self.gateway.url}&domain={double.DOMAIN}"
        registry.move_alias(models.client, NAME, registry.CHAMPION, None)

    def release(self, version: str, pace: Pace = PACE, start_s: float = 10, plan: Plan = BASIC) -> str:
        folder, registered = self.models.folder / "releases" / version, self.models.plans[version]
        return release_from(folder, registered, self.models.client, self.endpoint, start_s, pace, plan)

    def command(self) -> ClusterRelease:
        """Open the namespace as a command does."""
        return opened(None, self.models.client, self.endpoint)

    def servers(self, version: str) -> list[PodServer]:
        """Return the servers of a version's pods."""
        return [server for server in self.controller.servers.values() if server.version == version]

    def shares(self) -> dict[str, int]:
        """Return the weights of the public route by version."""
        weights = double.weights(self.api.get(GATEWAY, "httproutes", NAME))
        return {name.removesuffix("-predictor").rpartition("-v")[2]: weight for name, weight in weights if weight}

    def load(self) -> double.Load:
        load = double.Load(self.gateway.url, self.host)
        load.start()
        return load

    def champion(self) -> str | None:
        return registry.champion(self.models.client, NAME)

    def answers(self) -> str | None:
        path = f"/v1/models/{NAME}:predict"
        body = b'{"instances": [{}]}'
        status, content = self.gateway.answer(self.controller, self.host, path, body, is_probe=False)
        return json.loads(content)["model_version"] if status == 200 else None

    def lease(self) -> dict[str, Any]:
        return self.api.get("apis/coordination.k8s.io/v1", "leases", f"perennial-{NAME}")

    def objects(self) -> dict[str, list[str]]:
        kinds = {"services": (SERVING, "inferenceservices"), "routes": (GATEWAY, "httproutes")}
        return {name: sorted(self.api.all(*kind)) for name, kind in kinds.items()}

    def at_rest(self, version: str | None) -> bool:
        """Champion and public route say this version, and nothing is left of any other."""
        entry = (self.lease()["metadata"].get("annotations") or {}).get("perennial/release")
        deployments = self.api.all("apis/apps/v1", "deployments")
        others = [name for name in deployments if f"v{version}-" not in name]
        checks = [name for name in self.objects()["routes"] if name.startswith("perennial-check")]
        state = (self.champion(), self.answers(), entry, others, checks, self.lease()["spec"]["holderIdentity"])
        assert state == (version, version, None, [], [], "")
        return True
