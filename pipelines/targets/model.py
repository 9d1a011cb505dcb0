"""The target file as types: what differs between places, and nothing about any use case.

``{root}`` in a value stands for the project's folder, ``{state}`` for its ``.perennial``.
"""

from typing import Annotated, Literal

from pydantic import Field

from components.shared.project import Section

EnvironmentName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


class Images(Section):
    """Where a place finds the images of the steps."""

    registry: str = Field("", description="Prefix of every image, such as 'registry.example.com/team'; '' is none.")
    base: str = Field("python:3.11-slim-bookworm", description="Image with Python 3.11 that all images start from.")


class Services(Section):
    """What the steps talk to, as they reach it."""

    registry: str = Field("sqlite:///{state}/mlflow.db", description="MLflow: a SQLite file or a server's address.")
    studies: str = Field("{state}/studies", description="Tuning studies: a folder or postgresql://host/database.")
    endpoint: str = Field("{state}/endpoint", description="What releases go to: a folder or kserve://namespace.")


class Laptop(Section):
    """Processes on this machine, each in its step's virtualenv."""

    kind: Literal["laptop"]
    services: Services = Services()


class Docker(Section):
    """Containers on this machine's Docker engine."""

    kind: Literal["docker"]
    services: Services = Services()
    images: Images = Images()
    network: str = Field("host", description="The containers' network; 'host' reaches what listens on loopback.")
    pid: str = Field("host", description="Whose processes they see; steps and server know each other by number.")
    mounts: tuple[str, ...] = Field(
        ("{root}:ro", "{state}"), description="Folders that containers see under the same path; ':ro' read-only."
    )
    pass_env: tuple[EnvironmentName, ...] = Field(
        (), description="Variables of the caller that steps get, beside the sources' credentials."
    )


class Secret(Section):
    """A Kubernetes Secret whose keys become environment variables of every step."""

    name: str
    env: dict[EnvironmentName, str] = Field(description="Environment variable -> key of the Secret.")
    optional: bool = Field(False, description="A pod starts without the Secret, too.")


class Auth(Section):
    """How the command proves to the server who it is; what is secret comes from the environment."""

    kind: Literal["none", "service_account", "token", "cookie"] = "none"
    env: EnvironmentName | None = Field(None, description="Variable with the bearer token or the session's cookie.")
    token_path: str | None = Field(None, description="Projected token of a service account, where not KFP's own.")


class Storage(Section):
    """The bucket that takes bundles and local tables on their way to the cluster."""

    uri: str = Field(description="s3://bucket/prefix, or minio://bucket/prefix for the server that KFP brings.")
    endpoint_url: str | None = Field(None, description="Address of the S3 server as this command reaches it.")
    region: str = "us-east-1"


class Kfp(Section):
    """A Kubeflow Pipelines server."""

    kind: Literal["kfp"]
    host: str = Field("http://localhost:8888", description="KFP's address as this command reaches it.")
    namespace: str = Field("kubeflow", description="Namespace of the runs.")
    auth: Auth = Auth()
    services: Services
    images: Images = Images()
    storage: Storage
    service_account: str = "pipeline-runner"
    env: dict[EnvironmentName, str] = Field(default_factory=dict, description="Plain variables of every step.")
    secrets: tuple[Secret, ...] = ()
    run_as_user: int | None = Field(None, ge=1, description="User of the steps; default: the image's, never root.")
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    image_pull_secrets: tuple[str, ...] = ()
    pipeline_root: str | None = Field(None, description="Where artifacts go; default: as the server is set up.")
    gateway_url: str | None = Field(
        None, description="The models' gateway as this command reaches it; default: the ingress of services.endpoint."
    )
    experiment: str | None = Field(None, description="Of the runs; default: the project's name.")
    any_version: bool = Field(False, description="Speak to a server that is older than this command's SDK.")
    start_deadline_s: float = Field(600, gt=0, description="Longest time that a pod may fail to start.")
    timeout_s: int = Field(
        86_400, ge=1, description="Of a step for which the project file has none; it also ends what nobody watches."
    )


Target = Laptop | Docker | Kfp
