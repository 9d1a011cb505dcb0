"""Run each task as a process in the virtualenv of its image."""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from components.shared.project import Project
from pipelines.images import choices, environments
from pipelines.images.environments import Environment
from pipelines.targets.laptop import feature_server
from pipelines.targets.laptop.ahead import InterpretersAhead, Launch
from pipelines.targets.laptop.processes import ProcessGroups, task_environment
from pipelines.targets.local import endpoint, limits, step_secrets
from pipelines.targets.local.feature_server import RunningFeatureServer
from pipelines.targets.local.limits import Limits
from pipelines.targets.local.planned import PlannedTask
from pipelines.targets.local.seam import Perform, Seam
from pipelines.targets.model import Laptop


@dataclass(frozen=True)
class Processes:
    """Runs each task as a process group."""

    environments: Mapping[str, Environment]
    groups: ProcessGroups
    limits: Mapping[str, Limits]
    ahead: InterpretersAhead

    def seam(self, perform: Perform, planned: Sequence[PlannedTask]) -> Seam:
        """Return a seam in which kfp's subprocess handler is ours: it starts the compiled command as it is."""
        from kfp.local import SubprocessRunner, status, subprocess_task_handler

        processes = self
        self.ahead.expect(planned, lambda task: self._launch(task.step, task.variables, task.scratch))

        class Handler:
            """Run one task; the five arguments are kfp's."""

            def __init__(
                self, image: str, full_command: list[str], pipeline_root: str, runner: object, env_vars: dict[str, str]
            ) -> None:
                self.image, self.command, self.env_vars = image, full_command, env_vars

            def run(self) -> status.Status:
                """Run the compiled command verbatim and wait."""
                code = perform(self.image, self.command, self._start)
                return status.Status.SUCCESS if code == 0 else status.Status.FAILURE

            def _start(self, step: str, scratch: Path, output: IO[bytes]) -> int:
                return processes.run(step, self.command, self.env_vars, scratch, output)

        return Seam(SubprocessRunner(use_venv=False), ((subprocess_task_handler, "SubprocessTaskHandler", Handler),))

    def run(
        self, step: str, command: Sequence[str], variables: Mapping[str, str], scratch: Path, output: IO[bytes]
    ) -> int:
        """Run the command of a step in its virtualenv; return its exit code."""
        timeout_s = self.limits[step].timeout_s if step in self.limits else None
        launch, began_s = self._launch(step, variables, scratch), time.monotonic()
        try:
            process = self.ahead.start(step, command, launch, output, timeout_s)
            if process is None:
                process = self.groups.start(command, launch.env, launch.folder, output)
            left_s = None if timeout_s is None else max(0.0, began_s + timeout_s - time.monotonic())
            return self.groups.finish(process, left_s)
        except TimeoutError:
            return limits.hung(output, timeout_s)

    def _launch(self, step: str, variables: Mapping[str, str], scratch: Path) -> Launch:
        python, source = self.environments[step].python, self.environments[step].source
        inherited = step_secrets.visible(step, os.environ)
        env = task_environment(python, source, scratch, inherited) | dict(variables)
        return Launch(python, source, env, scratch)


@dataclass(frozen=True)
class VirtualenvRuntime:
    """The laptop: virtualenvs of its steps and of ``serving``."""

    environments: Mapping[str, Environment]
    limits: Mapping[str, Limits]
    interpreters_ahead: int

    @classmethod
    def prepared(
        cls, target: Laptop, project: Project, names: Iterable[str], announce: Callable[[str], None]
    ) -> "VirtualenvRuntime":
        """Install the virtualenvs that are missing."""
        chosen = choices.images_of(names, project)
        by_image = environments.prepare(
            chosen.values(), lambda name: announce(f"installing the packages of {name} (once per machine)")
        )
        built = {step: by_image[name] for step, name in chosen.items()}
        return cls(built, limits.of(project, built), target.interpreters_ahead)

    @property
    def references(self) -> Mapping[str, str]:
        """Content-addressed image reference of each virtualenv with its source."""
        return {name: environment.reference for name, environment in self.environments.items()}

    @contextmanager
    def tasks(self, run: str) -> Iterator[Processes]:
        """Take the tasks of a run as processes that end with the command."""
        with ProcessGroups() as groups, InterpretersAhead(groups, self.interpreters_ahead) as ahead:
            yield Processes(self.environments, groups, self.limits, ahead)

    def feature_server(self, store: str, log: Path) -> AbstractContextManager[RunningFeatureServer]:
        """Start Feast's feature server in the virtualenv of ``materialization``."""
        return feature_server.started(self.environments["materialization"], store, log)

    def serve(
        self,
        folder: Path,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        grpc_port: int | None = 0,
        options: Sequence[str] = (),
    ) -> endpoint.Running:
        """Start a model server in the virtualenv of ``serving``."""
        serving = self.environments["serving"]
        return endpoint.start(
            folder,
            python=serving.python,
            source=serving.source,
            host=host,
            port=port,
            grpc_port=grpc_port,
            options=options,
        )
