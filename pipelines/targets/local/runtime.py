"""What runs steps and the model server on this machine."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from pipelines.targets.local.endpoint import Running
from pipelines.targets.local.feature_server import RunningFeatureServer
from pipelines.targets.local.seam import Tasks


class Runtime(Protocol):
    """Runs steps, and the model server, in virtualenvs or containers that exist already."""

    @property
    def references(self) -> Mapping[str, str]:
        """Image reference of each step, and of ``serving`` where it was asked for."""

    def tasks(self, run: str) -> AbstractContextManager[Tasks]:
        """Give the tasks of a run; none outlives the context, nor the command that is in it."""

    def feature_server(self, store: str, log: Path) -> AbstractContextManager[RunningFeatureServer]:
        """Start Feast's feature server on an online store; it needs ``materialization`` among the steps.

        Raises:
            InputError: If the store is empty, or this target has no feature server.
            StepFailed: If it does not answer.
        """

    def serve(
        self,
        endpoint: Path,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        grpc_port: int | None = 0,
        options: Sequence[str] = (),
    ) -> Running:
        """Start a model server on an endpoint; see ``pipelines.targets.local.endpoint.start``."""
