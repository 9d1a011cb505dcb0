"""The registry's part in a release: the alias that names the champion is the commit point.

It also keeps which versions were taken back because they did harm, and which releases were withdrawn.
"""

from typing import TYPE_CHECKING, Protocol

from components.shared import registry
from components.shared.documents.release import RegisteredVersion

if TYPE_CHECKING:
    from mlflow import MlflowClient


class ChampionAlias(Protocol):
    """Which version of a model is the champion."""

    def champion(self, name: str) -> str | None:
        """Return the champion's version, None before the first release."""

    def move(self, name: str, version: str | None) -> None:
        """Let the alias name a version, or none."""

    def take_back(self, name: str, version: str, reason: str) -> None:
        """Remember that a version did harm."""

    def withdraw(self, release: RegisteredVersion, reason: str) -> None:
        """Remember that a release was withdrawn: a retry must not carry it out again."""


class MlflowChampionAlias:
    """The alias in MLflow's registry."""

    def __init__(self, client: "MlflowClient") -> None:
        self._client = client

    def champion(self, name: str) -> str | None:
        """Return the champion's version."""
        return registry.champion(self._client, name)

    def move(self, name: str, version: str | None) -> None:
        """Move the alias."""
        registry.move_alias(self._client, name, registry.CHAMPION, version)

    def take_back(self, name: str, version: str, reason: str) -> None:
        """Tag the version."""
        registry.take_back(self._client, name, version, reason)

    def withdraw(self, release: RegisteredVersion, reason: str) -> None:
        """Tag the version with the registration that the release came from; an older document names none."""
        if release.registration is not None:
            registry.withdraw(self._client, release.name, release.version, release.registration, reason)
