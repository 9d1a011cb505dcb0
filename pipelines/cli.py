"""The command: reads flags, calls one function per verb, turns errors into exit codes."""

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from components.shared.errors import PerennialError
from pipelines import runs
from rich.console import Console


class _Group(click.Group):
    """A group whose errors are sentences: what the user can act on has no traceback, a bug keeps its own."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command and exit with its code."""
        try:
            code = super().main(*args, **(kwargs | {"standalone_mode": False}))
        except click.ClickException as error:
            error.show()
            code = runs.BAD_INPUT
        except PerennialError as error:
            click.echo(f"perennial: {error}", err=True)
            code = error.exit_code
        except (KeyboardInterrupt, click.Abort):
            click.echo("perennial: interrupted", err=True)
            code = runs.INTERRUPTED
        except OSError as error:
            if error.errno != 28:
                raise
            click.echo("perennial: the disk is full; free some space ('perennial gc' removes old runs).", err=True)
            code = runs.FAILED
        sys.exit(code or 0)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="perennial")
def main() -> None:
    """Keep a tabular model alive in production."""


def _project_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--project",
        type=click.Path(path_type=Path),
        default=Path(),
        help="The project's folder, or its project.yaml (default: here).",
    )(command)


@main.command()
@_project_option
@click.option("--seed", type=int, default=7, show_default=True, help="Of splits, search and training.")
@click.option("--no-cache", is_flag=True, help="Run every step, even where nothing changed.")
@click.option("--wait", is_flag=True, help="Wait for a run that is under way instead of leaving.")
@click.option("--simulate", is_flag=True, help="First write the shipped example's tables where they are missing.")
@click.option("--ask", is_flag=True, help="Ask the endpoint one real question at the end.")
def run(project: Path, seed: int, no_cache: bool, wait: bool, simulate: bool, ask: bool) -> int:
    """Train a candidate, judge it, release it if it earned its place."""
    from pipelines.commands import run as verb

    return verb.run(project, seed=seed, use_cache=not no_cache, wait=wait, simulate=simulate, ask=ask)


@main.command(name="compile")
@click.option("--golden", is_flag=True, help="Rewrite the committed pipelines and component.yaml files.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Write the compiled pipelines here.")
def compile_(golden: bool, out: Path | None) -> None:
    """Compile the pipelines."""
    from pipelines import compilation

    for path in compilation.write_golden() if golden else compilation.write(out or Path("compiled")):
        click.echo(path)


@main.command()
@click.argument("steps", nargs=-1)
def lock(steps: tuple[str, ...]) -> None:
    """Lock the dependencies of every step, or of those named."""
    from pipelines import locking

    for path in locking.lock(steps):
        click.echo(path)


if __name__ == "__main__":
    main()
