"""The address of an endpoint on a cluster, ``kserve://<namespace>?<key>=<value>&...``."""

from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from components.shared.errors import InputError

SCHEME = "kserve://"


@dataclass(frozen=True)
class Address:
    """Where the models run, and how requests reach them.

    ``gateway`` is the Gateway's namespace and name, ``ingress`` its URL as this process reaches it, ``domain`` what the
    public hostnames end with, ``kserve`` the namespace of KServe's controller. What is None is read from the cluster.
    """

    namespace: str
    gateway: tuple[str, str] | None = None
    ingress: str | None = None
    domain: str | None = None
    kserve: str = "kserve"

    @classmethod
    def parse(cls, endpoint: str) -> "Address":
        """Read an address.

        Raises:
            InputError: If it names no namespace, or has an unknown key.

        >>> Address.parse("kserve://models?gateway=kserve/public&domain=example.com").gateway
        ('kserve', 'public')
        """
        parts = urlsplit(endpoint)
        parameters = dict(parse_qsl(parts.query, keep_blank_values=True))
        keys = ("gateway", "ingress", "domain", "kserve")
        if unknown := sorted(parameters.keys() - set(keys)):
            raise InputError(f"the endpoint {endpoint!r} has the keys {unknown}; expected some of {list(keys)}.")
        if not parts.netloc or parts.path.strip("/"):
            raise InputError(f"the endpoint {endpoint!r} names no namespace; expected 'kserve://<namespace>'.")
        gateway = None
        if "gateway" in parameters:
            namespace, _, name = parameters["gateway"].partition("/")
            if not namespace or not name:
                raise InputError(f"the endpoint's gateway is {parameters['gateway']!r}; expected '<namespace>/<name>'.")
            gateway = (namespace, name)
        ingress = parameters.get("ingress")
        if ingress is not None and urlsplit(ingress).scheme not in ("http", "https"):
            raise InputError(f"the endpoint's ingress is {ingress!r}; expected a URL such as 'http://10.0.0.1'.")
        return cls(parts.netloc, gateway, ingress, parameters.get("domain"), parameters.get("kserve", "kserve"))
