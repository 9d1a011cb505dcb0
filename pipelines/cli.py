"""The command: reads flags, calls one function per verb, turns errors into exit codes."""

import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from components.shared.errors import PerennialError
from pipelines import runs


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


def _target_options(command: Callable[..., Any]) -> Callable[..., Any]:
    command = click.option(
        "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override one key of the target, such as a.b=1."
    )(command)
    return click.option(
        "--target", default="laptop", show_default=True, metavar="NAME|FILE", help="Where: laptop, docker, or a file."
    )(command)


@main.command()
@_project_option
@_target_options
@click.option("--seed", type=int, default=7, show_default=True, help="Of splits, search and training.")
@click.option("--no-cache", is_flag=True, help="Run every step, even where nothing changed.")
@click.option("--wait", is_flag=True, help="Wait for a run that is under way instead of leaving.")
@click.option("--simulate", is_flag=True, help="First write the shipped example's tables where they are missing.")
@click.option("--ask", is_flag=True, help="Ask the endpoint one real question at the end.")
def run(
    project: Path,
    target: str,
    overrides: tuple[str, ...],
    seed: int,
    no_cache: bool,
    wait: bool,
    simulate: bool,
    ask: bool,
) -> int:
    """Train a candidate, judge it, release it if it earned its place."""
    from pipelines.commands import run as verb

    return verb.run(
        project,
        target=target,
        overrides=overrides,
        seed=seed,
        use_cache=not no_cache,
        wait=wait,
        simulate=simulate,
        ask=ask,
    )


@main.command(name="compile")
@click.option("--golden", is_flag=True, help="Rewrite the committed pipelines and component.yaml files.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Write the compiled pipelines here.")
def compile_(golden: bool, out: Path | None) -> None:
    """Compile the pipelines."""
    from pipelines import compilation

    for path in compilation.write_golden() if golden else compilation.write(out or Path("compiled")):
        click.echo(path)


@main.command()
@click.argument("reference", default="origin/main")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write it here instead of printing it.")
def diff(reference: str, out: Path | None) -> None:
    """Say in Markdown what changed in the compiled pipelines since REFERENCE, a git revision."""
    from pipelines import ir_diff

    page = ir_diff.since(reference)
    if out:
        out.write_text(page, encoding="utf-8")
    click.echo(out or page, nl=bool(out))


@main.command()
@click.argument("steps", nargs=-1)
def lock(steps: tuple[str, ...]) -> None:
    """Lock the dependencies of every step, or of those named."""
    from pipelines import locking

    for path in locking.lock(steps):
        click.echo(path)


@main.command()
@click.argument("table", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--label", required=True, help="The column to predict.")
@click.option("--entity", help="The column that names who a row is about (default: the row number).")
@click.option("--time", help="The column with the time of a row (default: all rows have one time).")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=Path(), help="The project's folder.")
def init(table: Path, label: str, entity: str | None, time: str | None, out: Path) -> None:
    """Write a project for a CSV or parquet file: project.yaml, data schema, feature repo."""
    from pipelines.commands import init as verb

    verb.init(table, label=label, entity=entity, time=time, out=out)


@main.command()
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), default=Path(".perennial/data"), show_default=True
)
@click.option("--customers", type=int, default=4000, show_default=True)
@click.option("--start", type=click.DateTime(["%Y-%m-%d"]), default="2024-01-01", show_default=True)
@click.option("--months", type=int, default=15, show_default=True)
@click.option("--seed", type=int, default=7, show_default=True)
@click.option("--switch", "switches", multiple=True, metavar="NAME[@YYYY-MM]", help="What goes wrong, and since when.")
@click.option("--list-switches", is_flag=True, help="Show what can go wrong.")
def simulate(
    out: Path, customers: int, start: datetime, months: int, seed: int, switches: tuple[str, ...], list_switches: bool
) -> None:
    """Write tables of the shipped example, for any period."""
    from pipelines import simulator

    if list_switches:
        for name, meaning in simulator.SWITCHES.items():
            click.echo(f"{name:18} {meaning}")
        return
    chosen = [simulator.parse_switch(text) for text in switches]
    rows = simulator.write(out, customers, start.date(), months, seed, chosen)
    for table, count in sorted(rows.items()):
        click.echo(f"{out / table}.parquet: {count:,} rows")


@main.command()
@_project_option
@_target_options
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="REST; 0 takes a free one."
)
@click.option("--grpc-port", type=click.IntRange(0, 65535), default=8081, show_default=True, help="0 takes a free one.")
def serve(project: Path, target: str, overrides: tuple[str, ...], host: str, port: int, grpc_port: int) -> int:
    """Answer requests with the released model until Ctrl-C; later releases take over without a pause."""
    from pipelines.commands import serve as verb

    return verb.serve(project, target=target, overrides=overrides, host=host, port=port, grpc_port=grpc_port)


@main.command()
@_project_option
@_target_options
@click.argument("row", required=False)
@click.option("--sample", is_flag=True, help="Send a row that training kept as a sample.")
def predict(project: Path, target: str, overrides: tuple[str, ...], row: str | None, sample: bool) -> int:
    """Send a row (JSON object, list of them, or - for standard input) to the endpoint."""
    from pipelines.commands import predict as verb

    text = sys.stdin.read() if row == "-" else row
    return verb.predict(project, text, target=target, overrides=overrides, sample=sample)


@main.command()
@_project_option
@_target_options
def status(project: Path, target: str, overrides: tuple[str, ...]) -> None:
    """Show what answers, the registered versions and the last runs."""
    from pipelines.commands import status as verb

    verb.status(project, target=target, overrides=overrides)


@main.command()
@_project_option
@_target_options
@click.option("--keep", type=click.IntRange(0), default=3, show_default=True, help="Newest runs to keep in any case.")
@click.option("--cache-days", type=click.FloatRange(0), help="Also remove virtualenvs unused for so many days.")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@click.option("--wait", is_flag=True, help="Wait for a run that is under way instead of leaving.")
def gc(
    project: Path,
    target: str,
    overrides: tuple[str, ...],
    keep: int,
    cache_days: float | None,
    dry_run: bool,
    wait: bool,
) -> None:
    """Remove what no release and no lineage needs."""
    from pipelines.commands import gc as verb

    verb.gc(
        project,
        target=target,
        overrides=overrides,
        keep=keep,
        cache_days=cache_days,
        dry_run=dry_run,
        wait=wait,
    )


@main.command()
def schema() -> None:
    """Print the JSON schema of project.yaml, for editors."""
    from pipelines import project_file

    click.echo(project_file.json_schema(), nl=False)


if __name__ == "__main__":
    main()
