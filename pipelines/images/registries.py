"""Push images to a registry, and ask it for their digests; the engine talks to it, with the logins that it knows."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from components.shared.errors import InputError, StepFailed
from pipelines.images import builder as images
from pipelines.images import digests, engine
from pipelines.images.recipes import chosen, reference

if TYPE_CHECKING:
    from docker import DockerClient


@images.trouble_said()
def push(
    image_names: Iterable[str], *, base: str, registry: str, announce: Callable[[str], None] = lambda sentence: None
) -> dict[str, str]:
    """Push what the registry lacks; return the digest of each reference, as the registry says it.

    Args:
        image_names: Names of images, as ``recipes.chosen`` takes them; none means all.
        base: The image that they start from.
        registry: Prefix of the references, such as ``registry.example.com/team``.
        announce: Told in a sentence of whatever takes a while.

    Raises:
        InputError: If no registry is named, or an image is not built.
        StepFailed: If there is no engine, or the registry refuses.
    """
    _check(registry)
    client, pushed = images.reach(), {}
    for name in chosen(image_names):
        target = reference(name, base, registry)
        digest = digest_of(client, target)
        if digest is None:
            _tag(client, name, reference(name, base), target)
            announce(f"pushing {target}")
            _push(client, target)
            digest = digest_of(client, target)
        if digest is None:
            raise StepFailed(f"the registry took {target}, but does not know it now; look at the registry's log.")
        pushed[target] = digest
    return pushed


@images.trouble_said()
def lock(image_names: Iterable[str], *, base: str, registry: str, path: Path = digests.LOCK) -> dict[str, str]:
    """Ask the registry for the digest of each image and write them to the lock; return them by reference.

    Args:
        image_names: Names of images, as ``recipes.chosen`` takes them; none means all.
        base: The image that they start from.
        registry: Prefix of the references.
        path: The lock; what it has of other registries and images stays.

    Raises:
        InputError: If no registry is named, or it lacks an image; then nothing is written.
        StepFailed: If there is no engine, or the registry refuses or does not answer.
    """
    _check(registry)
    client, locked = images.reach(), {}
    for name in chosen(image_names):
        target = reference(name, base, registry)
        digest = digest_of(client, target)
        if digest is None:
            raise InputError(f"the registry has no {target}; run 'perennial images push {name}' first.")
        locked[target] = digest
    digests.write(locked, path)
    return locked


def digest_of(client: "DockerClient", target: str) -> str | None:
    """Return what a registry answers for a reference, or None if it has no such image.

    Raises:
        StepFailed: If it refuses or does not answer.
    """
    from docker.errors import APIError

    try:
        return str(client.api.inspect_distribution(target)["Descriptor"]["digest"])
    except APIError as error:
        reason = engine.explained(error)
        if error.status_code == 404 or "manifest unknown" in reason or "name unknown" in reason:
            return None
        raise StepFailed(_refused(target, reason)) from None


def _check(registry: str) -> None:
    if not registry:
        raise InputError(
            "no registry is named; pass --registry, such as registry.example.com/team, or write it as images.registry "
            "into the target file."
        )


def _tag(client: "DockerClient", name: str, local: str, target: str) -> None:
    """Give an image the registry's name, where it has only that of this machine."""
    if images.inspected(client, target):
        return
    if not images.inspected(client, local):
        raise InputError(f"the image of {name} is not built; run 'perennial images build {name}' first.")
    repository, _, tag = target.rpartition(":")
    client.api.tag(local, repository, tag)


def _push(client: "DockerClient", target: str) -> None:
    from docker.errors import APIError

    repository, _, tag = target.rpartition(":")
    try:
        for answer in client.api.push(repository, tag, stream=True, decode=True):
            if "error" in answer:
                raise StepFailed(_refused(target, " ".join(answer["error"].split()).rstrip(".")))
    except APIError as error:
        raise StepFailed(_refused(target, engine.explained(error))) from None


def _refused(target: str, reason: str) -> str:
    host = target.partition("/")[0]
    return (
        f"the registry {host} refused {target} ({reason}); see whether it runs, and log in with 'docker login {host}'."
    )
