"""Build the images, or find them; one that exists under its content-addressed name is left as it is."""

import io
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock

from components.shared.errors import InputError, StepFailed
from pipelines.images import digests, engine, environments, lineage
from pipelines.images.digests import pinned
from pipelines.images.recipes import Recipe, ceiling, chosen, names, recipe, reference, repository

if TYPE_CHECKING:
    from docker import DockerClient

__all__ = ["Image", "build", "inspected", "listing", "names", "pinned", "reach", "reference"]

_MIB = 2**20
# uv is silent while it downloads and compiles, an engine while it waits for a registry.
_SILENCE_S = 3600
# The locks hold hashes of wheels for other versions, too: nothing else would refuse them.
_PYTHON = "import ensurepip, sys, venv; print(*sys.version_info[:2], sep='.')"
# What a build may need of its surroundings to reach a package index.
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")
_PASSED_ON = (*_PROXIES, "PIP_INDEX_URL", "UV_DEFAULT_INDEX")


@dataclass(frozen=True)
class Image:
    """An image as this machine's engine and the lock of digests know it; None where they don't."""

    name: str
    reference: str
    ceiling_mib: int
    size_mib: int | None = None
    above_base_mib: int | None = None
    digest: str | None = None
    seconds: float | None = None

    @property
    def too_large(self) -> bool:
        """Whether it is over its ceiling."""
        return self.above_base_mib is not None and self.above_base_mib > self.ceiling_mib


def reach() -> "DockerClient":
    """Return a client of the engine that bears the silence of a long build.

    Raises:
        StepFailed: If no engine answers.
    """
    client = engine.connect()
    client.api.timeout = _SILENCE_S
    return client


@contextmanager
def trouble_said() -> Iterator[None]:
    """Turn an engine that refuses, breaks off or goes away into one sentence.

    Raises:
        StepFailed: Instead of what the engine's client raises.
    """
    from docker.errors import DockerException
    from requests.exceptions import RequestException
    from urllib3.exceptions import HTTPError

    try:
        yield
    except (DockerException, RequestException, HTTPError) as error:
        raise StepFailed(
            f"the Docker engine failed ({engine.explained(error)[:300]}); see 'docker info' and the engine's log."
        ) from None


def listing(
    image_names: Iterable[str], *, base: str, registry: str = "", client: "DockerClient | None" = None
) -> list[Image]:
    """Describe images, all when none is named.

    Args:
        image_names: Names, as ``recipes.chosen`` takes them.
        base: The image that they start from.
        registry: Prefix of the references.
        client: The engine that says what is built and how large it is; None leaves that open.
    """
    return [_described(client, reference(name, base, registry), name, base) for name in chosen(image_names)]


@trouble_said()
def build(
    image_names: Iterable[str],
    *,
    base: str,
    registry: str = "",
    announce: Callable[[str], None] = lambda sentence: None,
    root: Path = environments.ROOT,
) -> list[Image]:
    """Build what the engine lacks, or fetch it where the registry has it, and hold all to their ceilings.

    Args:
        image_names: Names, as ``recipes.chosen`` takes them; none means all.
        base: The image that they start from.
        registry: Prefix of the references.
        announce: Told in a sentence of whatever takes a while.
        root: The folder with components/, serving/ and infra/.

    Raises:
        InputError: If a name is unknown, or the base can't be had.
        StepFailed: If there is no engine, a build fails, or an image is larger than its ceiling.
    """
    client, images = reach(), []
    for name in chosen(image_names, root):
        target, begun, seconds = reference(name, base, registry, root), time.monotonic(), None
        with _alone(target):
            if inspected(client, target) is None:
                if not (registry and _pulled(client, target, announce)):
                    _need_base(client, base, announce)
                    announce(f"building the image of {name}")
                    _build(client, recipe(name, root), base, target)
                seconds = time.monotonic() - begun
        images.append(_described(client, target, name, base, root, seconds))
    if large := [image for image in images if image.too_large]:
        sizes = ", ".join(f"{i.name} {i.above_base_mib} MiB (ceiling {i.ceiling_mib})" for i in large)
        raise StepFailed(
            f"larger above their base than they may be: {sizes}; see what their locks bring, or raise the ceiling in "
            "infra/image_sizes.yaml."
        )
    return images


def inspected(client: "DockerClient", target: str) -> dict[str, Any] | None:
    """Return what the engine knows about an image, or None if it has none of that name."""
    from docker.errors import ImageNotFound

    try:
        details: dict[str, Any] = client.api.inspect_image(target)
    except ImageNotFound:
        return None
    return details


def output(client: "DockerClient", image: str, command: list[str]) -> str | None:
    """Return what a command prints in an image, without a network and on a read-only root; None if it fails."""
    from docker.errors import APIError

    container = client.containers.create(
        image, entrypoint=command, command=[], network_mode="none", read_only=True, tmpfs={"/tmp": ""}
    )
    try:
        container.start()
        if container.wait()["StatusCode"]:
            return None
        printed: bytes = container.logs(stderr=False)
    except APIError:
        return None
    finally:
        container.remove(force=True)
    return printed.decode()


def _alone(target: str) -> filelock.BaseFileLock:
    """Let the commands of this user make an image one after the other: the second one finds it."""
    folder = environments.cache_folder() / "builds"
    folder.mkdir(parents=True, exist_ok=True)
    return filelock.FileLock(folder / f"{target.rpartition(':')[2]}.lock")


def _described(
    client: "DockerClient | None",
    target: str,
    name: str,
    base: str,
    root: Path = environments.ROOT,
    seconds: float | None = None,
) -> Image:
    size = above = None
    if client and (details := inspected(client, target)):
        # A pulled image comes without its base; then there is nothing to compare it with.
        below = inspected(client, base)
        size, above = details["Size"], details["Size"] - below["Size"] if below else None
    return Image(
        name=name,
        reference=target,
        ceiling_mib=ceiling(name, root),
        size_mib=None if size is None else round(size / _MIB),
        above_base_mib=None if above is None else round(above / _MIB),
        digest=digests.read().get(target),
        seconds=seconds,
    )


def _pulled(client: "DockerClient", target: str, announce: Callable[[str], None]) -> bool:
    """Fetch an image; a registry that lacks it, refuses or is away is no failure: then the image is built."""
    from docker.errors import APIError

    try:
        client.api.inspect_distribution(target)
        announce(f"fetching {target}")
        client.images.pull(target)
    except APIError:
        return False
    return True


def _need_base(client: "DockerClient", base: str, announce: Callable[[str], None]) -> None:
    from docker.errors import APIError

    if not inspected(client, base):
        announce(f"fetching {base}")
        try:
            client.images.pull(base)
        except APIError as error:
            raise InputError(
                f"the base image {base!r} is not on this engine and can't be pulled ({engine.explained(error)}); "
                "log in to its registry, or name another with --base or images.base of the target file."
            ) from None
    python_version = output(client, base, ["python3", "-c", _PYTHON]) or "no python3 with venv and pip"
    if python_version.strip() != "3.11":
        raise InputError(
            f"the base image {base!r} has {python_version}, the images need Python 3.11 with venv and pip; "
            "name another with --base or images.base of the target file."
        )


def _build(client: "DockerClient", made_of: Recipe, base: str, target: str) -> None:
    log = environments.cache_folder() / "builds" / f"{made_of.name}-{target.rpartition(':')[2]}.log"
    passed_on = {key: os.environ[key] for key in _PASSED_ON if os.environ.get(key)}
    answers = client.api.build(
        fileobj=io.BytesIO(made_of.context()),
        custom_context=True,
        dockerfile="Dockerfile",
        tag=target,
        buildargs={**passed_on, "BASE": base},
        labels=_labels(made_of),
        platform="linux/amd64",
        rm=True,
        forcerm=True,
        decode=True,
    )
    step = output = ""
    with log.open("w", encoding="utf-8") as file:
        for answer in answers:
            text = answer.get("stream", "") or answer.get("error", "")
            file.write(text)
            if "error" in answer:
                raise StepFailed(
                    f"the image of {made_of.name} could not be built at {step or 'its start'}: "
                    f"{_last_line(output) or _last_line(text)}; the whole log is {log}."
                )
            if text.startswith("Step "):
                step, output = " ".join(text.split())[:120], ""
            elif not text.startswith((" --->", "Removing intermediate")):
                output += text


def _last_line(text: str) -> str:
    lines = [" ".join(line.split()) for line in text.replace("\x1b[91m", "").replace("\x1b[0m", "").splitlines()]
    return next((line.rstrip(".") for line in reversed(lines) if line), "")


def _labels(made_of: Recipe) -> dict[str, str]:
    code = lineage.commit()
    labels = {
        "org.opencontainers.image.title": repository(made_of.name),
        "org.opencontainers.image.revision": code["commit"] + ("-dirty" if code["dirty"] == "true" else ""),
        "perennial.lock-hash": made_of.lock_hash,
        "perennial.source-hash": made_of.source_hash,
    }
    if source := lineage.remote():
        labels["org.opencontainers.image.source"] = source
    return labels
