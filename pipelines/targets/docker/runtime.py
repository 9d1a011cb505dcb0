"""Run each task, and the model server, in a container of its image on this machine's Docker engine."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from components.shared.errors import InputError
from components.shared.project import Project
from pipelines.images import builder as images
from pipelines.images import choices, engine, environments
from pipelines.targets.docker import server, settings, tasks
from pipelines.targets.local import endpoint, limits
from pipelines.targets.local.feature_server import RunningFeatureServer
from pipelines.targets.local.limits import Limits
from pipelines.targets.model import Docker
from pipelines.targets.state import State

if TYPE_CHECKING:
    from docker import DockerClient


@dataclass(frozen=True)
class DockerRuntime:
    """The engine, with the images of the steps that are to run and of ``serving``."""

    client: "DockerClient"
    target: Docker
    state: State
    references: Mapping[str, str]
    environment: Mapping[str, str]
    limits: Mapping[str, Limits]

    @classmethod
    def prepared(
        cls, target: Docker, project: Project, state: State, names: Iterable[str], announce: Callable[[str], None]
    ) -> "DockerRuntime":
        """Reach the engine and build the images that are missing; see ``LocalBackend.runtime``."""
        environments.check_platform()
        settings.check(target, project, state)
        client = engine.connect()
        engine.check_here(client)
        chosen = choices.images_of(names, project)
        base, registry = target.images.base, target.images.registry
        built = images.build(chosen.values(), base=base, registry=registry, announce=announce)
        by_image = {image.name: image.reference for image in built}
        references = {step: by_image[name] for step, name in chosen.items()}
        passed = settings.passed_on(target, project, os.environ)
        return cls(client, target, state, references, passed, limits.of(project, references))

    @contextmanager
    def tasks(self, run: str) -> Iterator[tasks.Containers]:
        """Take the tasks of a run as containers; the caller holds the project's lock."""
        # What a command left behind that was killed together with its watchdog.
        engine.remove(self.client, f"{settings.STATE}={self.state.folder}", settings.RUN)
        options = settings.common(self.target, self.state, self.environment)
        options["labels"] |= {settings.RUN: run}
        cpus = int(self.client.info()["NCPU"])
        with tasks.watched(self.client, f"{settings.RUN}={run}"):
            yield tasks.Containers(options, self.limits, cpus)

    def feature_server(self, store: str, log: Path) -> AbstractContextManager[RunningFeatureServer]:
        """Refuse: the image of ``materialization`` has no entry point for it."""
        raise InputError(
            "the target 'docker' has no feature server for 'serving: online_features'; serve with the target 'laptop', "
            "or set it to false."
        )

    def serve(
        self,
        folder: Path,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        grpc_port: int | None = 0,
        options: Sequence[str] = (),
    ) -> endpoint.Running:
        """Start a model server in a container of the image of ``serving``."""
        container = settings.common(self.target, self.state, {"OMP_NUM_THREADS": "1"})
        container["labels"] |= {settings.ENDPOINT: str(folder)}

        def begin(arguments: list[str]) -> server.ServerContainer:
            # One that was created by a command which was killed before it could start it.
            engine.remove(self.client, f"{settings.ENDPOINT}={folder}", statuses=("created",))
            return server.begin(
                self.client, self.references["serving"], arguments, str(folder / endpoint.LOG), container
            )

        return endpoint.launch(folder, begin, host=host, port=port, grpc_port=grpc_port, options=options)
