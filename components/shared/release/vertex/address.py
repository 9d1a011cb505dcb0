"""The address of an endpoint of Vertex AI, ``vertex://<project>/<region>[/<endpoint>]?bucket=<bucket>/<prefix>&...``."""

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from components.shared import cloud_storage
from components.shared.errors import InputError

SCHEME = "vertex://"
_KEYS = ("bucket", "machine", "service_account", "api", "storage", "monitoring")
# Vertex AI's rule for the id of an endpoint, less what is added to the candidate's.
_NAME = re.compile(r"[a-z]([a-z0-9-]{0,50}[a-z0-9])?")


@dataclass(frozen=True)
class Address:
    """Where the models run.

    Attributes:
        project: Id of the Google Cloud project.
        region: Of endpoint, model and bucket.
        endpoint: Id of the endpoint, and of the model in Model Registry; None is the project's name.
        bucket: ``gs://bucket/prefix`` for the packages and the journals of releases.
        machine: Machine type of each replica.
        service_account: Whom the containers run as; None is Google's own account.
        api: Host and port of Vertex AI; None is Google's own.
        storage: Origin of Cloud Storage.
        monitoring: Origin of Cloud Monitoring, which counts requests.
    """

    project: str
    region: str
    endpoint: str | None
    bucket: str
    machine: str = "e2-standard-2"
    service_account: str | None = None
    api: str | None = None
    storage: str = cloud_storage.ORIGIN
    monitoring: str = "https://monitoring.googleapis.com"

    @classmethod
    def parse(cls, endpoint: str) -> "Address":
        """Read an address.

        Raises:
            InputError: If it names no project, region or bucket, or has an unknown key.

        >>> Address.parse("vertex://my-project/europe-west4?bucket=models/churn").bucket
        'gs://models/churn'
        """
        parts = urlsplit(endpoint)
        parameters = dict(parse_qsl(parts.query, keep_blank_values=True))
        if unknown := sorted(parameters.keys() - set(_KEYS)):
            raise InputError(f"the endpoint {endpoint!r} has the keys {unknown}; expected some of {list(_KEYS)}.")
        region, *names = parts.path.strip("/").split("/")
        if not parts.netloc or not region or len(names) > 1:
            raise InputError(f"the endpoint is {endpoint!r}; expected 'vertex://PROJECT/REGION[/ENDPOINT]?bucket=...'.")
        if names and not _NAME.fullmatch(names[0]):
            raise InputError(
                f"the endpoint {endpoint!r} is named {names[0]!r}; expected at most 52 lower-case letters, digits and "
                "hyphens, a letter first."
            )
        bucket, _, prefix = parameters.get("bucket", "").removeprefix("gs://").strip("/").partition("/")
        if not bucket or not prefix:
            raise InputError(
                f"the endpoint {endpoint!r} names no folder of a bucket; expected '?bucket=BUCKET/PREFIX', where "
                "Vertex AI reads models from."
            )
        rest = {key: value for key, value in parameters.items() if key != "bucket" and value}
        return cls(parts.netloc, region, names[0] if names else None, f"gs://{bucket}/{prefix}", **rest)
