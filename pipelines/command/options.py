"""The options that several verbs share, as one object each."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from pipelines.definitions import catalog
from pipelines.targets.opening import open_backend
from pipelines.targets.protocol import Backend, RunRequest

Command = Callable[..., Any]


@dataclass(frozen=True)
class TargetOptions:
    """Which project, on which target."""

    project: Path
    target: str
    overrides: tuple[str, ...] = ()

    def open(self) -> Backend:
        """Open the target's backend.

        Raises:
            InputError: If there is no such target, or its file is not valid.
        """
        return open_backend(self.target, self.project, self.overrides)


def project(command: Command) -> Command:
    """Add ``--project``."""
    return click.option(
        "--project",
        type=click.Path(path_type=Path),
        default=Path(),
        help="The project's folder, or its project.yaml (default: the current folder).",
    )(command)


def overrides(command: Command) -> Command:
    """Add ``--set``."""
    return click.option(
        "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override one key of the target, such as a.b=1."
    )(command)


def target(default: str | None, description: str) -> Callable[[Command], Command]:
    """Add ``--project``, ``--target`` and ``--set``, which reach the verb as ``options``, a ``TargetOptions``.

    Args:
        default: The target; None makes ``options`` None where no target is named.
        description: Help for ``--target``.
    """

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def collected(*args: Any, project: Path, target: str | None, overrides: tuple[str, ...], **rest: Any) -> Any:
            options = TargetOptions(project, target, overrides) if target is not None else None
            return command(*args, options=options, **rest)

        named = click.option(
            "--target", default=default, show_default=default is not None, metavar="NAME|FILE", help=description
        )
        return project(named(overrides(collected)))

    return decorate


local_target = target("laptop", "Target: laptop, docker, or the path of a target file.")
cluster_target = target("kfp", "Target: kfp, vertex, or the path of a target file.")
any_target = target("laptop", "Target: laptop, docker, kfp, vertex, or the path of a target file.")


def pipeline(command: Command) -> Command:
    """Add ``--pipeline``, one entry of the catalogue."""
    return click.option(
        "--pipeline",
        type=click.Choice(sorted(catalog.PIPELINES)),
        default=catalog.DEFAULT,
        show_default=True,
        help="Which pipeline.",
    )(command)


def pipelines(command: Command) -> Command:
    """Add ``--pipeline`` for verbs that take several; none named means all."""
    return click.option(
        "--pipeline",
        "pipelines",
        type=click.Choice(sorted(catalog.PIPELINES)),
        multiple=True,
        help="Which pipeline; may be repeated (default: all).",
    )(command)


def experiment(command: Command) -> Command:
    """Add ``--experiment``."""
    return click.option(
        "--experiment", help="The experiment of the runs (default: the target's, or the project's name)."
    )(command)


def request(command: Command) -> Command:
    """Add the options of a run, which reach the verb as ``request``, a ``RunRequest``.

    ``--experiment``, ``--source-root`` and ``--wait`` go into it as well, where the verb has them.
    """

    @functools.wraps(command)
    def collected(
        *args: Any,
        pipeline: str,
        seed: int,
        start: datetime | None,
        end: datetime | None,
        no_cache: bool = False,
        wait_for_lock: bool = False,
        experiment: str | None = None,
        source_root: str | None = None,
        **rest: Any,
    ) -> Any:
        request = RunRequest(pipeline, seed, not no_cache, start, end, wait_for_lock, experiment, source_root)
        return command(*args, request=request, **rest)

    result: Command = collected
    for option in (
        window,
        click.option("--seed", type=int, default=7, show_default=True, help="Seed of splits, search and training."),
        pipeline,
    ):
        result = option(result)
    return result


MOMENT = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"])
"""A moment in UTC."""


def window(command: Command) -> Command:
    """Add ``--start`` and ``--end``."""
    until = click.option("--end", type=MOMENT, help="Last moment of the window (UTC), for a pipeline that has one.")
    return click.option("--start", type=MOMENT, help="The window begins after this moment (UTC).")(until(command))


no_cache = click.option("--no-cache", is_flag=True, help="Run every step, even where nothing changed.")
source_root = click.option(
    "--source-root", metavar="URI", help="s3:// or gs:// folder with the tables (default: upload those that are here)."
)
