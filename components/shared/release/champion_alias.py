"""The registry's part in a release: the alias that names the champion is the commit point.

It also keeps which versions were taken back because they did harm.
"""

from typing import TYPE_CHECKING, Protocol

from components.shared import registry

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
