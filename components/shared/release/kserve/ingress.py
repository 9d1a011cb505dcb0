"""How requests reach a release: the gateway, its address, and the hostnames behind it."""

import json
import logging
import re
from hashlib import sha256
from urllib.parse import quote

from components.shared import inference
from components.shared.errors import InputError, PerennialError, StepFailed
from components.shared.release.kserve import routes
from components.shared.release.kserve.address import Address
from components.shared.release.kserve.cluster import Cluster, Manifest
from components.shared.release.pace import Pace
from components.shared.release.sample import Sample

logger = logging.getLogger(__name__)

_CONFIG = "inferenceservice-config"


class Ingress:
    """Query versions through the gateway.

    Args:
        cluster: Where the routes are.
        address: What the target says about the gateway.
        pace: How long a route may take.
    """

    def __init__(self, cluster: Cluster, address: Address, pace: Pace) -> None:
        self._cluster, self._address, self._pace = cluster, address, pace

    def parents(self) -> list[Manifest]:
        """Name the gateway for a route of our own."""
        if self._address.gateway is not None:
            return [routes.parent(self._address.gateway)]
        namespace, _, name = str(self._setting("kserveIngressGateway", "gateway")).partition("/")
        return [routes.parent((namespace, name))]

    def host(self, name: str) -> str:
        """Return the public hostname of a service, as KServe would name it."""
        domain = self._address.domain
        if domain is not None:
            return f"{name}-{self._cluster.namespace}.{domain}"
        values = {
            "Name": name,
            "Namespace": self._cluster.namespace,
            "IngressDomain": str(self._setting("ingressDomain", "domain")),
        }
        template = str(self._setting("domainTemplate", "domain"))
        return re.sub(r"{{\s*\.(\w+)\s*}}", lambda match: values.get(match[1], match[0]), template)

    def url(self, parents: list[Manifest]) -> str:
        """Return where the gateway listens."""
        if self._address.ingress is not None:
            return self._address.ingress
        gateway = parents[0]
        manifest = self._cluster.get("Gateway", gateway["name"], namespace=gateway.get("namespace"))
        addresses = (manifest or {}).get("status", {}).get("addresses", [])
        if not addresses:
            raise InputError(
                f"the gateway {gateway.get('namespace')}/{gateway['name']} has no address yet; "
                "add where it is reached: kserve://...?ingress=http://<its service>."
            )
        return f"http://{addresses[0]['value']}"

    def verify_isolated(self, sample: Sample, service: str, public: str, parents: list[Manifest]) -> None:
        """Send the sample to one Service through the gateway, under a hostname of its own.

        Raises:
            StepFailed: If it does not answer, or a score differs.
        """
        name = self._check(service)
        host = f"{name}.{public.partition('.')[2]}"
        url = self.url(parents)
        self._cluster.apply(routes.document(name, host, parents, {service: 100}, sample.name))
        try:
            self.await_accepted(name)
            path = f"/v2/models/{quote(sample.name)}/versions/{quote(sample.version)}/ready"
            self._pace.until(
                lambda: inference.call(url, path, host=host)[0] == 200,
                self._pace.route_s,
                f"release {sample.version} did not answer through the gateway at {url} (host {host})",
            )
            sample.verify(url, host=host, by_version=True)
        finally:
            self.forget(service)

    def forget(self, service: str) -> None:
        """Remove the route that led to this Service alone."""
        self._cluster.delete("HTTPRoute", self._check(service))

    def verify_public(self, sample: Sample, host: str, parents: list[Manifest]) -> None:
        """Send requests as a client does, until this version has answered for a while without interruption.

        Raises:
            StepFailed: If it does not get there, or a score differs.
        """
        url, needed = self.url(parents), max(1, round(self._pace.settle_s / self._pace.poll_s))
        row = 0

        def settled() -> bool:
            nonlocal row
            row = row + 1 if self._answering(sample, url, host) == sample.version else 0
            return row >= needed

        self._pace.until(
            settled,
            self._pace.route_s + self._pace.settle_s,
            f"release {sample.version} did not come to answer at {url} (host {host})",
        )
        sample.verify(url, host=host)

    def await_accepted(self, name: str) -> None:
        """Wait until the gateway has adopted a route as it is."""
        seen: Manifest | None = None

        def accepted() -> bool:
            nonlocal seen
            seen = self._cluster.get("HTTPRoute", name)
            return routes.accepted(seen)

        if not self._pace.within(accepted, self._pace.route_s):
            raise StepFailed(
                f"the gateway does not adopt the route {name!r} ({routes.refusal(seen)}); "
                f"look at 'kubectl -n {self._cluster.namespace} describe httproute {name}'."
            )

    def await_route(self, name: str, condition: routes.Condition, problem: str) -> None:
        """Wait until a route is as wanted, and the gateway has adopted that."""
        self._pace.until(lambda: condition(self._cluster.get("HTTPRoute", name)), self._pace.route_s, problem)
        self.await_accepted(name)

    def _check(self, service: str) -> str:
        return f"perennial-check-{sha256(f'{self._cluster.namespace}/{service}'.encode()).hexdigest()[:12]}"

    def _answering(self, sample: Sample, url: str, host: str) -> str | None:
        try:
            return sample.answering(url, host=host)
        except PerennialError as failed:
            logger.info("not yet: %s", failed)
            return None

    def _setting(self, key: str, ours: str) -> object:
        config = self._cluster.get("ConfigMap", _CONFIG, namespace=self._address.kserve)
        value = json.loads((config or {}).get("data", {}).get("ingress", "{}")).get(key)
        if not value:
            raise InputError(
                f"KServe's configuration in namespace {self._address.kserve!r} does not set {key!r}; "
                f"set it in the target: kserve://...?{ours}=..."
            )
        return value
