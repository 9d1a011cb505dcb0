"""The Docker engine of this machine: reach it, or say in one sentence why not; remove containers by their labels."""

import contextlib
import os
import platform
from typing import TYPE_CHECKING

from components.shared import polling
from components.shared.errors import InputError, StepFailed

if TYPE_CHECKING:
    from docker import DockerClient

_SOCKET = "unix:///var/run/docker.sock"
_PING_S = 30
_WAYS_OUT = "start one ('docker info' shows more), or run with --target laptop."


def connect() -> "DockerClient":
    """Return a client of the engine at ``DOCKER_HOST``, or at the usual socket.

    Raises:
        StepFailed: If no engine answers there.
    """
    import docker
    from docker.errors import DockerException
    from requests.exceptions import RequestException

    address = os.environ.get("DOCKER_HOST") or _SOCKET
    try:
        client = docker.from_env(timeout=_PING_S)
        client.ping()
    except (DockerException, RequestException) as error:
        raise StepFailed(_unreachable(address, str(error))) from None
    return client


def check_here(client: "DockerClient") -> None:
    """Refuse an engine whose containers don't share this machine's folders, users and process numbers.

    Raises:
        InputError: If it runs on another machine, in a virtual machine, or maps users.
    """
    address = os.environ.get("DOCKER_HOST") or _SOCKET
    info = client.info()
    if not address.startswith("unix://") or info["KernelVersion"] != platform.release():
        raise InputError(
            f"the Docker engine at {address} runs on another system (kernel {info['KernelVersion']}, here "
            f"{platform.release()}), and its containers can't share folders and process numbers with this one; "
            "use an engine on this machine, or --target laptop."
        )
    options = info.get("SecurityOptions") or []
    if mapped := [option for option in options if "rootless" in option or "userns" in option]:
        raise InputError(
            f"the Docker engine at {address} maps users ({', '.join(mapped)}), so the files of a run would not belong "
            "to you; use an engine that keeps user numbers, or --target laptop."
        )


def remove(client: "DockerClient", *labels: str, statuses: tuple[str, ...] = ()) -> int:
    """Remove containers that carry all these labels, running or not; return how many there were.

    Args:
        client: The engine.
        labels: ``key`` or ``key=value``.
        statuses: Only those in one of these states; none means all.
    """
    from docker.errors import APIError, NotFound

    filters: dict[str, list[str]] = {"label": list(labels)}
    if statuses:
        filters["status"] = list(statuses)
    containers = client.api.containers(all=True, filters=filters)
    for container in containers:
        try:
            client.api.remove_container(container["Id"], force=True)
        except NotFound:
            continue
        except APIError as error:
            # Another process removes it, or it is just being started: the caller looks again.
            if error.status_code != 409:
                raise
    return len(containers)


def remove_until_gone(client: "DockerClient", *labels: str, deadline_s: float = 30.0) -> None:
    """Remove containers by their labels, also one that is being created, until two looks in a row find none."""
    empty_looks = 0

    def gone() -> bool:
        nonlocal empty_looks
        with contextlib.suppress(OSError):
            empty_looks = 0 if remove(client, *labels) else empty_looks + 1
        return empty_looks >= 2

    polling.within(gone, deadline_s, poll_s=0.2)


def explained(error: Exception) -> str:
    """Return what the engine says about a failure, as one line without a full stop."""
    reason = getattr(error, "explanation", None) or str(error)
    text = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
    return " ".join(text.split()).rstrip(".")


def _unreachable(address: str, reason: str) -> str:
    if "Permission denied" in reason:
        return (
            f"this user may not use the Docker engine at {address} (permission denied); add the user to the group that "
            "owns the socket (usually 'docker') and log in again, or run with --target laptop."
        )
    if "No such file" in reason:
        return f"no Docker engine runs here (there is no {address.removeprefix('unix://')}); install or {_WAYS_OUT}"
    if "refused" in reason:
        return f"no Docker engine answers at {address} (connection refused); {_WAYS_OUT}"
    return f"no Docker engine answers at {address} ({' '.join(reason.split())[:200]}); {_WAYS_OUT}"
