"""Follow the endpoint's folder: load what is on its way beside what answers, and swap when told."""

import asyncio
import logging
from pathlib import Path

import yaml

from components.shared import releases
from components.shared.errors import StepFailed
from components.shared.files import from_uri, read_json
from serving.refusal import RequestRefused
from serving.release import ServedRelease
from serving.served import Served

logger = logging.getLogger(__name__)

_POLL_S = 0.05


class Rollout:
    """Keep the served releases equal to what the endpoint's folder says.

    Args:
        endpoint: The folder.
        served: The releases in memory.
    """

    def __init__(self, endpoint: Path, served: Served) -> None:
        self._endpoint = endpoint
        self._served = served
        self._seen: tuple[object, ...] | None = None

    async def follow(self) -> None:
        """Look for changes until cancelled."""
        while True:
            await self.settle()
            await asyncio.sleep(_POLL_S)

    async def settle(self) -> None:
        """Serve what the folder says now; what it can't say is logged once, and what answers keeps answering."""
        seen = tuple(_stamp(self._endpoint / name) for name in (releases.ACTIVE, releases.CANDIDATE))
        if seen == self._seen:
            return
        try:
            await self._adopt()
        except Exception:
            logger.exception("the endpoint's folder %s could not be followed", self._endpoint)
        self._seen = seen

    async def _adopt(self) -> None:
        active, entry = releases.active(self._endpoint), releases.journal(self._endpoint)
        wanted = {active} | ({entry.version, entry.former} if entry else set()) - {None}
        served = self._served
        served.failed = {version: why for version, why in served.failed.items() if version in wanted}
        for version in sorted(wanted - {None}, key=lambda one: one != active):
            await self._load(str(version))
        self._swap(active)
        for version in served.loaded.keys() - wanted - {served.active and served.active.version}:
            logger.info("release %s is dropped", version)
            del served.loaded[version]

    async def _load(self, version: str) -> None:
        """Load and warm one release in a thread, so that the others keep answering."""
        served = self._served
        if version in served.loaded or version in served.failed:
            return
        try:
            served.loaded[version] = await asyncio.to_thread(load, self._endpoint, version)
            logger.info("release %s is loaded and warm", version)
        except Exception as broken:
            served.failed[version] = _sentence(broken)
            logger.error("release %s could not be loaded: %s", version, broken)

    def _swap(self, active: str | None) -> None:
        served = self._served
        if active is None:
            served.deactivate()
        elif active in served.loaded and served.active is not served.loaded[active]:
            served.activate(served.loaded[active])


def load(endpoint: Path, version: str) -> ServedRelease:
    """Load and warm the release whose manifests lie in the endpoint's folder."""
    folder = releases.folder(endpoint, version)
    try:
        manifest = yaml.safe_load((folder / "inferenceservice.yaml").read_text(encoding="utf-8"))
        uri = str(manifest["spec"]["predictor"]["model"]["storageUri"])
        notes = read_json(folder / "release.json")
        name, manifest_sha256 = str(notes["name"]), notes.get("manifest_sha256")
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as broken:
        raise StepFailed(f"The release in {folder} is not readable ({broken!r}); release again.") from broken
    if not uri.startswith("file:///"):
        raise StepFailed(
            f"storageUri {uri!r} of release {version} is not file:///...; a local endpoint reads files only."
        )
    release = ServedRelease(from_uri(uri), name, version, manifest_sha256)
    release.warm()
    return release


def _sentence(broken: Exception) -> str:
    said = str(broken).partition("\n")[0]
    return said if isinstance(broken, StepFailed | RequestRefused) else f"{type(broken).__name__}: {said}"


def _stamp(path: Path) -> object:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size
