"""The types of the target file, which describes where a project runs and not the project itself.

In values, ``{root}`` is replaced by the project's folder and ``{state}`` by its ``.perennial`` folder.
"""

from typing import Annotated, Literal

from pydantic import Field

from components.shared.project import Section

EnvironmentName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


class Images(Section):
    """Where the images of the steps are."""

    registry: str = Field(
        "", description="Prefix of every image, such as 'registry.example.com/team'; '' for no prefix."
    )
    base: str = Field("python:3.11-slim-bookworm", description="Base of all images, with Python 3.11.")


class Services(Section):
    """Addresses of the services, as the steps reach them."""

    registry: str = Field(
        "sqlite:///{state}/mlflow.db", description="MLflow registry: a SQLite file or the address of a server."
    )
    studies: str = Field(
        "{state}/studies", description="Storage of tuning studies: a folder or postgresql://host/database."
    )
    endpoint: str = Field(
        "{state}/endpoint",
        description="Where models are released: a folder, kserve://namespace or vertex://project/region.",
    )
    online_store: str = Field(
        "{state}/online", description="Feast's online store: a folder (SQLite) or redis://host:port?project=name."
    )
    inference_log: str = Field("{state}/log", description="Folder of the inference log.")
    labels: str = Field("{state}/labels", description="Folder of the labels that became known later.")
    incidents: str = Field(
        "",
        description="Folder in a bucket where runs keep incidents and the messages about them; '' where the command "
        "keeps them on its own machine.",
    )
    metrics: str = Field(
        "{state}/metrics",
        description="Where monitoring leaves its metrics: a folder, for the textfile collector of Prometheus's node "
        "exporter, or the address of a push gateway.",
    )


class Laptop(Section):
    """Processes on this machine, each in the virtualenv of its step."""

    kind: Literal["laptop"] = Field(description="Type of the target.")
    services: Services = Field(Services(), description="Addresses of the services.")
    interpreters_ahead: int = Field(
        2,
        ge=0,
        le=4,
        description="How many of the next steps import their libraries while a step works; 0 for none. None does with "
        "less than 2 GiB of memory available.",
    )


class Docker(Section):
    """Containers on this machine's Docker engine."""

    kind: Literal["docker"] = Field(description="Type of the target.")
    services: Services = Field(Services(), description="Addresses of the services.")
    images: Images = Field(Images(), description="Where the images of the steps are.")
    network: str = Field(
        "host", description="Network of the containers; 'host' gives access to services on the loopback interface."
    )
    pid: str = Field(
        "host", description="PID namespace of the containers; steps and the server must see each other's process ids."
    )
    mounts: tuple[str, ...] = Field(
        ("{root}:ro", "{state}"), description="Folders to mount under the same path; ':ro' mounts them read-only."
    )
    pass_env: tuple[EnvironmentName, ...] = Field(
        (), description="Environment variables to pass to the steps, besides the credentials of the sources."
    )


class Secret(Section):
    """A Kubernetes Secret whose keys become environment variables of steps."""

    name: str = Field(description="Name of the Secret.")
    env: dict[EnvironmentName, str] = Field(description="Keys of the Secret, by environment variable.")
    optional: bool = Field(False, description="Whether a pod starts without the Secret.")
    steps: tuple[str, ...] = Field((), description="Steps that get it; every step if empty.")


class Auth(Section):
    """How the command authenticates to the server; secrets come from the environment."""

    kind: Literal["none", "service_account", "token", "cookie"] = Field("none", description="Authentication method.")
    env: EnvironmentName | None = Field(
        None, description="Environment variable with the bearer token or session cookie."
    )
    token_path: str | None = Field(None, description="File with the projected service account token; default: KFP's.")


class Storage(Section):
    """The bucket to which bundles and local tables are uploaded."""

    uri: str = Field(
        description="s3://bucket/prefix, gs://bucket/prefix, or minio://bucket/prefix for the server that is part of "
        "KFP."
    )
    endpoint_url: str | None = Field(
        None, description="Address of the bucket's server, as this command reaches it; default: the cloud's own."
    )
    region: str = Field("us-east-1", description="Region of an S3 bucket.")


class Kfp(Section):
    """A Kubeflow Pipelines server."""

    kind: Literal["kfp"] = Field(description="Type of the target.")
    host: str = Field("http://localhost:8888", description="Address of the server, as this command reaches it.")
    namespace: str = Field("kubeflow", description="Namespace of the runs.")
    auth: Auth = Field(Auth(), description="How the command authenticates.")
    services: Services = Field(description="Addresses of the services.")
    images: Images = Field(Images(), description="Where the images of the steps are.")
    storage: Storage = Field(description="Bucket for bundles and local tables.")
    service_account: str = Field("pipeline-runner", description="Kubernetes service account of the steps.")
    env: dict[EnvironmentName, str] = Field(default_factory=dict, description="Environment variables of every step.")
    secrets: tuple[Secret, ...] = Field((), description="Kubernetes Secrets that steps read.")
    run_as_user: int | None = Field(
        None, ge=1, description="User id of the steps; default: that of the image, which is not root."
    )
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = Field(
        "IfNotPresent", description="When Kubernetes pulls an image."
    )
    image_pull_secrets: tuple[str, ...] = Field((), description="Names of the Secrets for pulling images.")
    pipeline_root: str | None = Field(None, description="URI for artifacts; default: the server's.")
    gateway_url: str | None = Field(
        None, description="Address of the models' gateway, as this command reaches it; default: services.endpoint."
    )
    registry_url: str | None = Field(
        None, description="Address of the registry, as this command reaches it; default: services.registry."
    )
    experiment: str | None = Field(None, description="Experiment of the runs; default: the project's name.")
    any_version: bool = Field(False, description="Whether to accept a server that is older than this command's SDK.")
    start_deadline_s: float = Field(
        600, gt=0, description="Seconds in which a pod must start; otherwise the run fails."
    )
    timeout_s: int = Field(
        86_400,
        ge=1,
        description="Timeout in seconds of a step without timeout_s in the project file; the cluster enforces it.",
    )


class Vertex(Section):
    """Vertex AI Pipelines of Google Cloud."""

    kind: Literal["vertex"] = Field(description="Type of the target.")
    project: str = Field(
        pattern=r"^$|^[a-z][a-z0-9-]{4,28}[a-z0-9]$", description="Id of the Google Cloud project, not its number."
    )
    region: str = Field(pattern=r"^[a-z]+-[a-z]+[0-9]+$", description="Region of runs and endpoints.")
    services: Services = Field(description="Addresses of the services.")
    images: Images = Field(description="Where the images of the steps are.")
    storage: Storage = Field(description="Bucket for bundles, local tables and artifacts.")
    service_account: str | None = Field(
        None, description="Email of the steps' service account; default: the project's own for Compute Engine."
    )
    network: str | None = Field(
        None,
        pattern=r"^projects/[^/]+/global/networks/[^/]+$",
        description="VPC network that is peered with Vertex AI, as projects/NUMBER/global/networks/NAME.",
    )
    encryption_key: str | None = Field(
        None,
        pattern=r"^projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+$",
        description="Key of Cloud KMS that encrypts what a run keeps.",
    )
    labels: dict[
        Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,62}$")], Annotated[str, Field(pattern=r"^[a-z0-9_-]{0,63}$")]
    ] = Field(default_factory=dict, description="Labels of every run, as for billing.")
    env: dict[EnvironmentName, str] = Field(default_factory=dict, description="Environment variables of every step.")
    pipeline_root: str | None = Field(
        None, pattern=r"^gs://", description="Where runs keep artifacts; default: 'runs' below storage.uri."
    )
    registry_url: str | None = Field(
        None, description="Address of the registry, as this command reaches it; default: services.registry."
    )
    experiment: str | None = Field(None, description="Experiment of the runs; default: the project's name.")
    prices: str | None = Field(None, description="Your price file; default: list prices that are shipped.")
    api_endpoint: str | None = Field(
        None, description="Host and port of the API, as behind Private Service Connect; default: the region's."
    )
    logging_url: str = Field("https://logging.googleapis.com", description="Address of Cloud Logging.")


Remote = Kfp | Vertex
"""A target whose runs happen at a server."""
Target = Laptop | Docker | Remote
