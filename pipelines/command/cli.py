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


_override_option = click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override one key of the target, such as a.b=1."
)


_seed_option = click.option("--seed", type=int, default=7, show_default=True, help="Of splits, search and training.")


def _target_options(command: Callable[..., Any]) -> Callable[..., Any]:
    command = _override_option(command)
    return click.option(
        "--target", default="laptop", show_default=True, metavar="NAME|FILE", help="Where: laptop, docker, or a file."
    )(command)


@main.command()
@_project_option
@_target_options
@_seed_option
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
    from pipelines.command.verbs import run as verb

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
@_project_option
@click.option("--golden", is_flag=True, help="Rewrite the committed pipelines and component.yaml files.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Write the compiled pipelines here.")
@click.option("--target", metavar="NAME|FILE", help="Fill in what this place knows (default: symbolic images).")
@_override_option
def compile_(project: Path, golden: bool, out: Path | None, target: str | None, overrides: tuple[str, ...]) -> None:
    """Compile the pipelines."""
    from pipelines.definitions import compilation

    if golden:
        written = compilation.write_golden()
    else:
        written = compilation.write(out or Path("compiled"), target, project, overrides)
    for path in written:
        click.echo(path)


def _cluster_options(command: Callable[..., Any]) -> Callable[..., Any]:
    command = _override_option(command)
    return click.option("--target", default="kfp", show_default=True, metavar="NAME|FILE", help="Which cluster.")(
        command
    )


_experiment_option = click.option(
    "--experiment", help="Where runs are filed (default: the target's, or the project's name)."
)
_source_option = click.option(
    "--source-root", metavar="URI", help="s3:// or gs:// folder with the tables (default: upload those that are here)."
)


@main.command()
@_project_option
@_cluster_options
@click.option("--revision", help="Name of the version (default: the git revision).")
def upload(project: Path, target: str, overrides: tuple[str, ...], revision: str | None) -> None:
    """Upload the pipeline to a cluster, as a version named by its git revision; again does nothing."""
    from pipelines.command.verbs import upload as verb

    verb.upload(project, target=target, overrides=overrides, revision=revision)


@main.command()
@_project_option
@_cluster_options
@_experiment_option
@_seed_option
@_source_option
@click.option("--no-cache", is_flag=True, help="Run every step, even where nothing changed.")
@click.option("--wait/--no-wait", default=True, show_default=True, help="Follow the run to its end.")
def submit(
    project: Path,
    target: str,
    overrides: tuple[str, ...],
    experiment: str | None,
    seed: int,
    source_root: str | None,
    no_cache: bool,
    wait: bool,
) -> int:
    """Train on a cluster: upload what is new, start a run, follow it; Ctrl-C stops following, not the run."""
    from pipelines.command.verbs import submit as verb

    return verb.submit(
        project,
        target=target,
        overrides=overrides,
        seed=seed,
        use_cache=not no_cache,
        experiment=experiment,
        source_root=source_root,
        wait=wait,
    )


@main.command(name="runs")
@_project_option
@_cluster_options
@_experiment_option
@click.option("--last", type=click.IntRange(1, 100), default=10, show_default=True, help="How many.")
@click.option("--end", metavar="RUN", help="End this run instead.")
def runs_(
    project: Path, target: str, overrides: tuple[str, ...], experiment: str | None, last: int, end: str | None
) -> None:
    """Show the newest runs on a cluster, or end one."""
    from pipelines.command.verbs import runs as verb

    if end:
        verb.end(project, target=target, overrides=overrides, run=end)
    else:
        verb.show(project, target=target, overrides=overrides, experiment=experiment, last=last)


@main.command()
@_project_option
@_cluster_options
@click.argument("run")
@click.argument("step", required=False)
def logs(project: Path, target: str, overrides: tuple[str, ...], run: str, step: str | None) -> None:
    """Show how the steps of a run on a cluster stand and why it failed, or what one STEP printed."""
    from pipelines.command.verbs import logs as verb

    verb.logs(project, target=target, overrides=overrides, run=run, step=step)


@main.group()
def schedule() -> None:
    """Train on a cluster by the clock."""


@schedule.command(name="create")
@_project_option
@_cluster_options
@_experiment_option
@_seed_option
@_source_option
@click.option("--cron", required=True, help="Six fields, UTC: second minute hour day month weekday ('0 30 6 * * *').")
@click.option("--name", help="Of the schedule (default: the pipeline's).")
def schedule_create(
    project: Path,
    target: str,
    overrides: tuple[str, ...],
    experiment: str | None,
    seed: int,
    source_root: str | None,
    cron: str,
    name: str | None,
) -> None:
    """Start a run of the pipeline as it is now, by the clock; what was missed is not caught up."""
    from pipelines.command.verbs import schedule as verb

    verb.create(
        project,
        target=target,
        overrides=overrides,
        cron=cron,
        name=name,
        seed=seed,
        experiment=experiment,
        source_root=source_root,
    )


@schedule.command(name="list")
@_project_option
@_cluster_options
@_experiment_option
def schedule_list(project: Path, target: str, overrides: tuple[str, ...], experiment: str | None) -> None:
    """Show the schedules of a project."""
    from pipelines.command.verbs import schedule as verb

    verb.show(project, target=target, overrides=overrides, experiment=experiment)


def _schedule_verb(verb: str, help_: str) -> None:
    @schedule.command(name=verb, help=help_)
    @_project_option
    @_cluster_options
    @_experiment_option
    @click.argument("name")
    def change(project: Path, target: str, overrides: tuple[str, ...], experiment: str | None, name: str) -> None:
        from pipelines.command.verbs import schedule as module

        module.change(verb, project, target=target, overrides=overrides, experiment=experiment, name=name)


_schedule_verb("pause", "Let a schedule start nothing until it is resumed.")
_schedule_verb("resume", "Let a schedule start runs again.")
_schedule_verb("delete", "Delete a schedule; the runs that it started stay.")


@main.command()
@click.argument("reference", default="origin/main")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write it here instead of printing it.")
def diff(reference: str, out: Path | None) -> None:
    """Say in Markdown what changed in the compiled pipelines since REFERENCE, a git revision."""
    from pipelines.definitions import ir_diff

    page = ir_diff.since(reference)
    if out:
        out.write_text(page, encoding="utf-8")
    click.echo(out or page, nl=bool(out))


@main.command()
@click.argument("steps", nargs=-1)
def lock(steps: tuple[str, ...]) -> None:
    """Lock the dependencies of every step, or of those named."""
    from pipelines.images import locking

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
    from pipelines.command.verbs import init as verb

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
    from pipelines.command.verbs import serve as verb

    return verb.serve(project, target=target, overrides=overrides, host=host, port=port, grpc_port=grpc_port)


@main.command()
@_project_option
@_target_options
@click.argument("row", required=False)
@click.option("--sample", is_flag=True, help="Send a row that training kept as a sample.")
def predict(project: Path, target: str, overrides: tuple[str, ...], row: str | None, sample: bool) -> int:
    """Send a row (JSON object, list of them, or - for standard input) to the endpoint."""
    from pipelines.command.verbs import predict as verb

    text = sys.stdin.read() if row == "-" else row
    return verb.predict(project, text, target=target, overrides=overrides, sample=sample)


@main.command()
@_project_option
@_target_options
def status(project: Path, target: str, overrides: tuple[str, ...]) -> None:
    """Show what answers, the registered versions and the last runs."""
    from pipelines.command.verbs import status as verb

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
    from pipelines.command.verbs import gc as verb

    verb.gc(
        project,
        target=target,
        overrides=overrides,
        keep=keep,
        cache_days=cache_days,
        dry_run=dry_run,
        wait=wait,
    )


def _images_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Which images, and what they start from: flags go before the target file."""
    for option in (
        click.option("--registry", metavar="PREFIX", help="Prefix of the images, such as registry.example.com/team."),
        click.option("--base", metavar="IMAGE", help="Image with Python 3.11 that they start from."),
        _override_option,
        click.option("--target", default="docker", show_default=True, help="A target's name, or its file."),
        _project_option,
        click.argument("names", nargs=-1, metavar="[NAME]..."),
    ):
        command = option(command)
    return command


@main.group()
def images() -> None:
    """List, build, push and lock the images."""


@images.command(name="list")
@_images_options
@click.option("--json", "as_json", is_flag=True, help="For a script.")
def images_list(names: tuple[str, ...], as_json: bool, **place: Any) -> None:
    """Show references, sizes and digests."""
    from pipelines.command.verbs import images as verb

    verb.show(names, verb.place(**place), as_json)


@images.command(name="build")
@_images_options
def images_build(names: tuple[str, ...], **place: Any) -> None:
    """Build what is missing; an unchanged image is left as it is."""
    from pipelines.command.verbs import images as verb

    verb.build(names, verb.place(**place))


@images.command(name="context")
@click.argument("name")
def images_context(name: str) -> None:
    """Write the build context of an image as a tar archive, for 'docker build -'."""
    from pipelines.command.verbs import images as verb

    verb.context(name)


@images.command(name="push")
@_images_options
def images_push(names: tuple[str, ...], **place: Any) -> None:
    """Push what the registry lacks, and print its digests."""
    from pipelines.command.verbs import images as verb

    verb.push(names, verb.place(**place))


@images.command(name="lock")
@_images_options
def images_lock(names: tuple[str, ...], **place: Any) -> None:
    """Write the registry's digests into infra/images.lock."""
    from pipelines.command.verbs import images as verb

    verb.lock(names, verb.place(**place))


@images.command(name="sbom")
@_images_options
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=Path("sbom"), show_default=True)
def images_sbom(names: tuple[str, ...], out: Path, **place: Any) -> None:
    """Write a bill of materials (CycloneDX) per image."""
    from pipelines.command.verbs import images as verb

    verb.bill(names, verb.place(**place), out)


@main.command()
@click.argument("overlay", required=False)
@click.option("--golden", is_flag=True, help="Rewrite infra/rendered instead, with symbolic images.")
@click.option("--features/--no-features", default=True, help="Give the feature server the project's features.")
@_cluster_options
@_project_option
def manifests(overlay: str | None, golden: bool, **options: Any) -> None:
    """Print what infra/ puts on a cluster, for 'kubectl apply --server-side': kind, production or a folder."""
    from pipelines.command.verbs import manifests as verb

    if golden:
        for path in verb.rewrite_golden():
            click.echo(path)
    elif overlay is None:
        raise click.UsageError("name an overlay: kind, production, or a folder with a kustomization.yaml.")
    else:
        verb.print_manifests(overlay, **options)


@main.command()
def schema() -> None:
    """Print the JSON schema of project.yaml, for editors."""
    from pipelines.project import project_file

    click.echo(project_file.json_schema(), nl=False)


if __name__ == "__main__":
    main()
