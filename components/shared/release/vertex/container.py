"""What a version runs in and on how much, from the manifests of its release and the project's section ``serving``.

The manifests are those that KServe and a local endpoint read, too: the image, the options and the environment are equal
everywhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from components.shared.project import ServingSettings

HEALTH, PREDICT = "/health", "/predict"
PORT = 8080
# What Vertex AI decides itself; the server takes port and package from its variables.
_OWN = ("--name=", "--model-dir=", "--port=", "--grpc-port=", "--authenticated-by=")


@dataclass(frozen=True)
class Container:
    """The container of one version.

    Attributes:
        image: Reference of the model server's image, in Artifact Registry.
        args: Of the server.
        env: Name to value.
    """

    image: str
    args: tuple[str, ...]
    env: Mapping[str, str]

    @classmethod
    def of(cls, name: str, service: Mapping[str, Any], runtime: Mapping[str, Any]) -> "Container":
        """Take it from the InferenceService and the ServingRuntime of a release; ``name`` is the model's."""
        (container,) = runtime["spec"]["containers"]
        given = [*container["args"], *service["spec"]["predictor"]["model"].get("args", ())]
        kept = [argument for argument in given if not argument.startswith(_OWN)]
        args = (f"--name={name}", "--authenticated-by=Vertex AI", *kept)
        return cls(container["image"], args, {entry["name"]: entry["value"] for entry in container.get("env", ())})


@dataclass(frozen=True)
class Capacity:
    """How much a deployed version gets.

    Attributes:
        machine: Machine type of each replica.
        replicas: Smallest and largest number.
        cpu_target: CPU usage above which replicas are added, in percent; None leaves it to Vertex AI.
        service_account: Whom the containers run as; None is Google's own account.
    """

    machine: str
    replicas: tuple[int, int]
    cpu_target: int | None
    service_account: str | None

    @classmethod
    def of(cls, serving: ServingSettings, machine: str, service_account: str | None) -> "Capacity":
        """Take it from the project's settings; Vertex AI scales by CPU usage, not by memory."""
        target = serving.scale_target if serving.scale_metric == "cpu" else None
        return cls(machine, (serving.replicas_min, serving.replicas_max), target, service_account)
