"""The releases in memory, and the choice of the one that answers a request."""

import logging

from components.shared.release.routing import Routing
from serving import metrics
from serving.refusal import RequestRefused, short
from serving.release import ServedRelease

logger = logging.getLogger(__name__)


class Served:
    """Any number of releases of one model.

    A request picks its release once and keeps it, so a swap is one assignment and no request waits for it.

    Attributes:
        active: The release with the largest share; it names the model and describes its tensors. None before the first
            release.
        loaded: Every release in memory, by version.
        failed: One sentence per version that could not be loaded.
        routing: The shares of the versions.
    """

    def __init__(self) -> None:
        self.name = ""
        self.active: ServedRelease | None = None
        self.loaded: dict[str, ServedRelease] = {}
        self.failed: dict[str, str] = {}
        self.routing = Routing()

    def pick(self, name: str, version: str | None = None, key: str | None = None) -> ServedRelease:
        """Return the release that answers a request.

        Args:
            name: The model.
            version: Ask this version; None or "" lets the routing choose.
            key: The entity or the request id by which the routing chooses; None takes the active release.

        Raises:
            RequestRefused: 404 if the model or the version is unknown, 503 if it could not be loaded.
        """
        active = self.active
        if active is not None and name == active.name and version in (None, "", active.version):
            if version or key is None:
                return active
            return self.loaded.get(self.routing.choose(key) or active.version, active)
        names = {release.name for release in self.loaded.values()}
        if active is None and not version:
            if self.failed:
                broken, sentence = next(iter(self.failed.items()))
                raise RequestRefused(503, f"release {short(broken)} could not be loaded: {sentence}", "not_ready")
            raise RequestRefused(
                404, f"model {short(name)} is unknown; nothing has been released here yet.", "unknown_model"
            )
        if names and name not in names:
            raise RequestRefused(
                404, f"model {short(name)} is unknown; this server answers for {sorted(names)}.", "unknown_model"
            )
        if not version:
            raise RequestRefused(404, f"model {short(name)} is loaded but not released yet.", "unknown_model")
        if version in self.failed:
            raise RequestRefused(
                503, f"release {short(version)} could not be loaded: {self.failed[version]}", "not_ready"
            )
        if version not in self.loaded:
            raise RequestRefused(
                404, f"release {short(version)} is not loaded; expected one of {sorted(self.loaded)}.", "unknown_model"
            )
        return self.loaded[version]

    def request_bytes(self, name: str, version: str | None) -> int:
        """Return the largest body that any release which may answer takes; refuse what ``pick`` refuses."""
        limit = self.pick(name, version).signature.request_bytes
        if version or len(self.loaded) < 2:
            return limit
        return max(limit, *(release.signature.request_bytes for release in self.loaded.values()))

    def largest_request_bytes(self) -> int | None:
        """Return the largest request that any release in memory takes; None if there is none."""
        return max((release.signature.request_bytes for release in self.loaded.values()), default=None)

    def versions(self) -> list[str]:
        """Return the versions that a request may name."""
        return sorted(self.loaded)

    def route(self, routing: Routing) -> None:
        """Answer as a routing says from the next request on; requests in flight finish on the release they picked.

        If a version with a share is not loaded, the previous routing stays in effect.
        """
        if any(version not in self.loaded for version, share in routing.shares.items() if share):
            return
        previous, self.routing = self.routing, routing
        self.active = None if routing.primary is None else self.loaded[routing.primary]
        if self.active is not None:
            self.name = self.active.name
        for version in sorted(previous.versions | routing.versions):
            share = routing.shares.get(version, 0)
            if share != previous.shares.get(version, 0):
                metrics.ACTIVE.labels(self.name, version).set(share / 100)
                logger.info("release %s of %s answers %d %% of the requests", version, self.name, share)

    def activate(self, release: ServedRelease) -> None:
        """Let one release answer everything."""
        self.loaded[release.version] = release
        self.route(Routing.to(release.version))
