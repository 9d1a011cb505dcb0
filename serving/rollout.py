"""Follow the endpoint's folder: load the versions that its routing names, and answer as it says."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import yaml

from components.shared.documents.release import RegisteredVersion, storage_here
from components.shared.errors import PerennialError, StepFailed
from components.shared.files import from_uri
from components.shared.release import endpoint_folder, routing
from components.shared.release.routing import Routing
from serving.refusal import RequestRefused
from serving.release import ServedRelease
from serving.served import Served

logger = logging.getLogger(__name__)

_POLL_S = 0.05
_WATCHED = (Routing.FILE, routing.LEGACY_FILE)


class Rollout:
    """Keep the served releases equal to what the endpoint's folder says.

    Args:
        endpoint: The folder.
        served: The releases in memory.
        routed: Told of every routing before it is in effect.
        signed_by: Public keys in PEM, one of which must have signed a release; none loads unsigned ones.
    """

    def __init__(
        self,
        endpoint: Path,
        served: Served,
        routed: Callable[[Routing], None] = lambda routing: None,
        signed_by: Sequence[str] = (),
    ) -> None:
        self._signed_by = signed_by
        self._endpoint = endpoint
        self._served = served
        self._routed = routed
        self._adopted: tuple[object, ...] | None = None

    async def follow(self) -> None:
        """Look for changes until cancelled."""
        while True:
            await self.settle()
            await asyncio.sleep(_POLL_S)

    async def settle(self) -> None:
        """Serve what the folder says now; if it is invalid, that is logged once and the current releases go on."""
        stamps = tuple(_stamp(self._endpoint / name) for name in _WATCHED)
        if stamps == self._adopted:
            return
        try:
            await self._adopt(routing.read(self._endpoint))
        except Exception:
            logger.exception("the endpoint's folder %s could not be followed", self._endpoint)
        self._adopted = stamps

    async def _adopt(self, routing: Routing) -> None:
        """Load what is new, switch, then drop what is no longer needed."""
        served = self._served
        for version in served.failed.keys() - routing.versions:
            del served.failed[version]
        # The version with the largest share first: after a start it should not wait for the others.
        for version in sorted(routing.versions, key=lambda version: -routing.shares[version]):
            if version not in served.loaded and version not in served.failed:
                await self._load(version)
        self._routed(routing)
        served.route(routing)
        for version in served.loaded.keys() - routing.versions - served.routing.versions:
            logger.info("release %s is dropped", version)
            del served.loaded[version]

    async def _load(self, version: str) -> None:
        """Load and warm one release in a thread, so that the others keep answering."""
        served = self._served
        try:
            served.loaded[version] = await asyncio.to_thread(load, self._endpoint, version, self._signed_by)
            logger.info("release %s is loaded and warm", version)
        except Exception as error:
            served.failed[version] = _reason(error)
            logger.error("release %s could not be loaded: %s", version, error)


def load(endpoint: Path, version: str, signed_by: Sequence[str] = ()) -> ServedRelease:
    """Load and warm the release whose manifests are in the endpoint's folder; one of the keys must have signed it."""
    folder = endpoint_folder.release_folder(endpoint, version)
    try:
        service = yaml.safe_load((folder / "inferenceservice.yaml").read_text(encoding="utf-8"))
        uri = str(service["spec"]["predictor"]["model"]["storageUri"])
        registered = RegisteredVersion.read(folder / RegisteredVersion.FILE)
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        raise StepFailed(f"the release in {folder} is not readable ({error!r}); release again.") from error
    if not uri.startswith("file:///"):
        raise StepFailed(
            f"storageUri {uri!r} of release {version} is not file:///...; a local endpoint reads files only."
        )
    release = ServedRelease(
        from_uri(storage_here(uri, folder / RegisteredVersion.FILE)),
        registered.name,
        version,
        registered.manifest_sha256,
        signed_by,
    )
    release.warm()
    return release


def _reason(error: Exception) -> str:
    first_line = str(error).partition("\n")[0]
    return first_line if isinstance(error, PerennialError | RequestRefused) else f"{type(error).__name__}: {first_line}"


def _stamp(path: Path) -> object:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size
