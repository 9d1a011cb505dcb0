"""Release the former version of a local endpoint again, by the same machine as any release."""

from pathlib import Path
from typing import TYPE_CHECKING

from components.shared.documents.release import RegisteredVersion
from components.shared.errors import InputError
from components.shared.release import endpoint_folder, local, routing

if TYPE_CHECKING:
    from mlflow import MlflowClient


def former_release(endpoint: Path, version: str | None = None) -> RegisteredVersion:
    """Return the release that a rollback brings back.

    Args:
        endpoint: The endpoint's folder.
        version: A version that answered here at some time; None is the one before the current.

    Raises:
        InputError: If there is none, or its files are not in the folder.
    """
    current = routing.read(endpoint)
    if current.primary is None:
        raise InputError(f"nothing has been released to the endpoint {endpoint}; there is nothing to roll back.")
    installed = _installed(endpoint)
    version = version or current.former or _newest_before(current.primary, installed)
    if version is None:
        raise InputError(
            f"release {current.primary} is the first one of the endpoint {endpoint}; there is nothing to roll back to."
        )
    if version not in installed:
        raise InputError(
            f"release {version} is not in the endpoint {endpoint}; expected one of {_in_order(installed)}, "
            "run the pipeline to release another version."
        )
    return RegisteredVersion.read(endpoint_folder.release_folder(endpoint, version))


def roll_back(endpoint: Path, client: "MlflowClient", release: RegisteredVersion) -> str:
    """Make a former version the champion again; a server must be running on the endpoint.

    The version is queried before it takes over, like any candidate; if it fails, the current one goes on answering.

    Returns:
        "released", or "unchanged" if the version answers already.

    Raises:
        StepFailed: If the version does not answer right any more.
    """
    return local.driver(endpoint, client).release(release)


def _installed(endpoint: Path) -> set[str]:
    folder = endpoint / endpoint_folder.RELEASES
    return {path.parent.name for path in folder.glob(f"[!.]*/{RegisteredVersion.FILE}")}


def _in_order(versions: set[str]) -> list[str]:
    """Sort versions as numbers.

    >>> _in_order({"10", "9"})
    ['9', '10']
    """
    return sorted(versions, key=lambda version: (len(version), version))


def _newest_before(version: str, installed: set[str]) -> str | None:
    """Guess the former version in a folder that was written before it was recorded: versions count up."""
    if not version.isdecimal():
        return None
    older = [int(name) for name in installed if name.isdecimal() and int(name) < int(version)]
    return str(max(older)) if older else None
