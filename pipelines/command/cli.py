"""The command: reads flags, calls one function per verb, turns errors into exit codes."""

import errno
import functools
import math
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from components.shared.errors import DISK_FULL, PerennialError, is_disk_full
from pipelines import runs
from pipelines.command import checkout, terminal
from pipelines.command import options as shared
from pipelines.command.options import TargetOptions
from pipelines.images.recipes import ROOT
from pipelines.targets.model import Images
from pipelines.targets.protocol import RunRequest

_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


def _forbidden(error: OSError) -> str:
    named = f"{str(error.filename)!r}" if error.filename else "a file"
    reason = (error.strerror or str(error)).lower()
    return f"{named} can't be read or written: {reason}; change its rights, or choose another folder."


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
            click.echo(f"perennial: {terminal.visible(str(error))}", err=True)
            code = error.exit_code
        except (KeyboardInterrupt, click.Abort):
            click.echo("perennial: interrupted", err=True)
            code = runs.INTERRUPTED
        except OSError as error:
            if error.errno in _FORBIDDEN:
                sentence = _forbidden(error)
                code = runs.BAD_INPUT
            elif is_disk_full(error):
                sentence, code = DISK_FULL, runs.FAILED
            else:
                raise
            click.echo(f"perennial: {terminal.visible(sentence)}", err=True)
        sys.exit(code or 0)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="perennial")
def main() -> None:
    """Keep a tabular model alive in production."""
    checkout.check(ROOT)


@main.command()
@shared.local_target
@shared.request
@shared.no_cache
@click.option("--wait", "wait_for_lock", is_flag=True, help="Wait for a run that is under way instead of leaving.")
@click.option("--simulate", is_flag=True, help="First write the shipped example's tables where they are missing.")
@click.option("--ask", is_flag=True, help="Ask the endpoint one real question at the end.")
def run(options: TargetOptions, request: RunRequest, simulate: bool, ask: bool) -> int:
    """Train a candidate, evaluate it, and release it if it passes the gate; or run another pipeline."""
    from pipelines.command.verbs import run as verb

    return verb.run(options, request, simulate=simulate, ask=ask)


@main.command(name="compile")
@shared.target(None, "Fill in what this target knows (default: symbolic images).")
@shared.pipelines
@click.option("--golden", is_flag=True, help="Rewrite the committed pipelines and component.yaml files.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Write the compiled pipelines here.")
@click.option("--tfx", metavar="URI", help="Write TFX's own pipeline instead; its inputs will be in this gs:// folder.")
def compile_(
    options: TargetOptions | None, pipelines: tuple[str, ...], golden: bool, out: Path | None, tfx: str | None
) -> None:
    """Compile the pipelines."""
    from pipelines.command.verbs import compile as verb

    if golden:
        verb.rewrite_golden()
    elif tfx:
        verb.write_native(out or Path("compiled"), tfx, options)
    else:
        verb.write(out or Path("compiled"), pipelines, options)


@main.command()
@shared.cluster_target
@shared.pipeline
@click.option("--revision", help="Name of the version (default: the git revision).")
def upload(options: TargetOptions, pipeline: str, revision: str | None) -> None:
    """Upload a pipeline to a cluster, as a version named by its git revision; again does nothing."""
    from pipelines.command.verbs import upload as verb

    verb.upload(options, pipeline=pipeline, revision=revision)


@main.command()
@shared.cluster_target
@shared.experiment
@shared.request
@shared.source_root
@shared.no_cache
@click.option("--wait/--no-wait", default=True, show_default=True, help="Follow the run to its end.")
def submit(options: TargetOptions, request: RunRequest, wait: bool) -> int:
    """Run a pipeline on a cluster: upload what is new, start, follow; Ctrl-C stops following, not the run."""
    from pipelines.command.verbs import submit as verb

    return verb.submit(options, request, wait=wait)


@main.command(name="runs")
@shared.any_target
@shared.experiment
@click.option("--last", type=click.IntRange(1, 100), default=10, show_default=True, help="How many.")
@click.option("--end", metavar="RUN", help="End this run instead.")
def runs_(options: TargetOptions, experiment: str | None, last: int, end: str | None) -> None:
    """Show the newest runs of a target, or end one."""
    from pipelines.command.verbs import runs as verb

    if end:
        verb.end(options, run=end)
    else:
        verb.show(options, experiment=experiment, last=last)


@main.command()
@shared.any_target
@click.argument("run")
@click.argument("step", required=False)
@click.option("--all", "whole", is_flag=True, help="Also show what KFP prints around the lines of a step.")
def logs(options: TargetOptions, run: str, step: str | None, whole: bool) -> None:
    """Show the states of a run's steps and why it failed, or what one STEP printed."""
    from pipelines.command.verbs import logs as verb

    verb.logs(options, run=run, step=step, whole=whole)


@main.group()
def schedule() -> None:
    """Run a pipeline on a cluster by the clock."""


@schedule.command(name="create")
@shared.cluster_target
@shared.experiment
@shared.request
@shared.source_root
@click.option("--cron", required=True, help="Six fields, UTC: second minute hour day month weekday ('0 30 6 * * *').")
@click.option("--name", help="Name of the schedule (default: the pipeline's).")
def schedule_create(options: TargetOptions, request: RunRequest, cron: str, name: str | None) -> None:
    """Start a run of the pipeline as it is now, by the clock; what was missed is not caught up."""
    from pipelines.command.verbs import schedule as verb

    verb.create(options, request, cron=cron, name=name)


@schedule.command(name="list")
@shared.cluster_target
@shared.experiment
def schedule_list(options: TargetOptions, experiment: str | None) -> None:
    """Show the schedules of a project."""
    from pipelines.command.verbs import schedule as verb

    verb.show(options, experiment=experiment)


def _schedule_verb(verb: str, help_: str) -> None:
    @schedule.command(name=verb, help=help_)
    @shared.cluster_target
    @shared.experiment
    @click.argument("name")
    def change(options: TargetOptions, experiment: str | None, name: str) -> None:
        from pipelines.command.verbs import schedule as module

        module.change(verb, options, experiment=experiment, name=name)


_schedule_verb("pause", "Let a schedule start nothing until it is resumed.")
_schedule_verb("resume", "Let a schedule start runs again.")
_schedule_verb("delete", "Delete a schedule; the runs that it started stay.")


@main.command()
@click.argument("reference", default="origin/main")
@shared.pipelines
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write it here instead of printing it.")
def diff(reference: str, pipelines: tuple[str, ...], out: Path | None) -> None:
    """Describe in Markdown what changed in the compiled pipelines since REFERENCE, a git revision."""
    from pipelines.definitions import ir_diff

    page = ir_diff.since(reference, pipelines=pipelines)
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
@click.option("--in-time-order", is_flag=True, help="The rows are in the order of time, although no column has it.")
@click.option("--categorical", multiple=True, metavar="COLUMN", help="A column whose numbers are codes; repeatable.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=Path(), help="The project's folder.")
def init(
    table: Path,
    label: str,
    entity: str | None,
    time: str | None,
    in_time_order: bool,
    categorical: tuple[str, ...],
    out: Path,
) -> None:
    """Write a project for a CSV or parquet file: project.yaml, data schema, feature repo."""
    from pipelines.command.verbs import init as verb

    verb.init(
        table,
        label=label,
        entity=entity,
        time=time,
        out=out,
        categorical=categorical,
        in_time_order=in_time_order,
    )


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


_ABOVE_ZERO = click.FloatRange(0, min_open=True)


@main.command()
@shared.local_target
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--tokens", type=click.Path(path_type=Path), help="File with the accepted bearer tokens, one a line.")
@click.option("--oidc-issuer", metavar="URL", help="OpenID Connect provider whose tokens are accepted.")
@click.option("--oidc-audience", metavar="NAME", help="Audience that such tokens must have.")
@click.option("--oidc-keys", type=click.Path(path_type=Path, resolve_path=True), help="File with the provider's keys.")
@click.option("--rate", type=_ABOVE_ZERO, metavar="N", help="Most requests per second of each token.")
@click.option("--rate-mib", type=_ABOVE_ZERO, metavar="N", help="Most MiB of bodies per second of each token.")
@click.option("--authenticated-by", metavar="WHAT", help="What authenticates in front of a server beyond loopback.")
@click.option(
    "--metrics-port", type=click.IntRange(1, 65535), help="Port of the metrics, without tokens (default: that of REST)."
)
@click.option(
    "--connections-per-client", type=click.IntRange(1), metavar="N", help="Most REST connections of one address."
)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="REST; 0 takes a free one."
)
@click.option("--grpc-port", type=click.IntRange(0, 65535), default=8081, show_default=True, help="0 takes a free one.")
def serve(
    options: TargetOptions,
    host: str,
    tokens: Path | None,
    port: int,
    grpc_port: int,
    **access: float | str | Path | None,
) -> int:
    """Answer requests with the released model until Ctrl-C; later releases take over without a pause."""
    from pipelines.command.verbs import serve as verb

    # The server knows these by the same names.
    named = [f"--{name.replace('_', '-')}={value}" for name, value in access.items() if value is not None]
    file = [f"--tokens={tokens.absolute()}"] if tokens else []
    return verb.serve(options, host=host, port=port, grpc_port=grpc_port, access=[*file, *named])


def _checked_level(_: click.Context, __: click.Parameter, text: str | None) -> float | None:
    try:
        level = None if text is None else float(text)
    except ValueError:
        level = math.nan
    if level is not None and not 0 < level < 1:
        raise click.BadParameter(f"{text!r} is not a share between 0 and 1, such as 0.9.")
    return level


@main.command()
@shared.target("laptop", "Target: laptop, docker, kfp, or the path of a target file.")
@click.argument("row", required=False)
@click.option("--sample", is_flag=True, help="Send a row that training kept as a sample.")
@click.option(
    "--entity",
    "entities",
    multiple=True,
    metavar="ID",
    help="Let the server look up the features that a row leaves out; repeat it for several rows.",
)
@click.option(
    "--at",
    type=shared.MOMENT,
    help="With --entity: the moment that the features describe (UTC; default: now).",
)
@click.option("--explain", "explains", is_flag=True, help="Show what each feature contributed to the score.")
@click.option(
    "--interval",
    callback=_checked_level,
    metavar="LEVEL",
    help="Show bounds, or the set of classes, that hold this share of labels, such as 0.9.",
)
@click.option(
    "--table",
    type=click.Path(path_type=Path),
    help="Score every row of a CSV file, a parquet file or a folder of parquet files, without the endpoint.",
)
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="CSV or parquet file (default: TABLE_scores.csv)."
)
@click.option("--version", metavar="VERSION", help="Version that scores the table (default: the champion).")
def predict(
    options: TargetOptions,
    row: str | None,
    sample: bool,
    entities: tuple[str, ...],
    at: datetime | None,
    explains: bool,
    interval: float | None,
    table: Path | None,
    out: Path | None,
    version: str | None,
) -> int:
    """Send a row (JSON object, list of them, or - for standard input) to the endpoint, or score a table."""
    from components.shared.inference import Subject
    from pipelines.command.verbs import predict as verb

    if table is not None:
        if row is not None or sample or entities or explains:
            raise click.UsageError("--table excludes a row, --sample, --entity and --explain.")
        return verb.predict_table(options, table, out, version, interval=interval)
    if out is not None or version is not None:
        raise click.UsageError("--out and --version need --table.")
    if sample and entities:
        raise click.UsageError("--sample excludes --entity.")
    if at is not None and not entities:
        raise click.UsageError("--at needs --entity.")
    text = sys.stdin.read() if row == "-" else row
    subject = Subject(entities, None if at is None else at.replace(tzinfo=UTC).isoformat()) if entities else None
    return verb.predict(options, text, sample=sample, explains=explains, interval=interval, subject=subject)


@main.command()
@shared.local_target
@shared.window
@click.option("--wait", "wait_for_lock", is_flag=True, help="Wait for a run that is under way instead of leaving.")
def monitor(options: TargetOptions, start: datetime | None, end: datetime | None, wait_for_lock: bool) -> int:
    """Look at the answered requests of a window and the labels that are due, and say what to do."""
    from pipelines.command.verbs import monitor as verb

    return verb.monitor(options, start, end, wait=wait_for_lock)


@main.command()
@shared.local_target
@click.option(
    "--every", "every_h", type=click.FloatRange(0, min_open=True), default=24.0, show_default=True, metavar="HOURS"
)
@click.option("--once", is_flag=True, help="Go round once, for a scheduler of your own.")
def loop(options: TargetOptions, every_h: float, once: bool) -> int:
    """Monitor again and again, and do what is decided: retrain, or roll a release back."""
    from pipelines.command.verbs import loop as verb

    return verb.loop(options, timedelta(hours=every_h), once=once)


@main.command()
@shared.local_target
def cadence(options: TargetOptions) -> int:
    """Recommend when to retrain, by backtesting schedules and alarms on the project's history."""
    from pipelines.command.verbs import cadence as verb

    return verb.cadence(options)


@main.command()
@shared.local_target
@click.argument("request_id")
def explain(options: TargetOptions, request_id: str) -> None:
    """Trace an answer back: its features and scores, the release, and the data, code and verdict behind it."""
    from pipelines.command.verbs import explain as verb

    verb.explain(options, request_id)


@main.command()
@shared.local_target
@click.option("--scenario", default="sudden", show_default=True, metavar="NAME", help="What happens to the business.")
@click.option("--months", type=click.IntRange(2, 24), default=6, show_default=True, help="Months to play.")
@click.option("--seed", type=click.IntRange(0), default=7, show_default=True, help="Seed of the simulated business.")
@click.option(
    "--seeds", type=click.IntRange(1), default=1, show_default=True, help="How many seeds, one after another."
)
def replay(options: TargetOptions, scenario: str, months: int, seed: int, seeds: int) -> int:
    """Play months of the shipped example with the whole loop on, and compare it with a model that is left alone."""
    from pipelines.command.verbs import replay as verb

    return verb.replay(options, scenario, months, seed, seeds)


@main.group()
def incidents() -> None:
    """What monitoring found and somebody has to deal with."""


@incidents.command(name="list")
@shared.any_target
@click.option("--all", "resolved", is_flag=True, help="Also those that are resolved.")
def incidents_list(options: TargetOptions, resolved: bool) -> None:
    """Show the open incidents."""
    from pipelines.command.verbs import incidents as verb

    verb.show_all(options, resolved=resolved)


@incidents.command(name="show")
@shared.any_target
@click.argument("number", type=int)
def incidents_show(options: TargetOptions, number: int) -> None:
    """Show an incident: its evidence, what to do, and how the last one of its kind ended."""
    from pipelines.command.verbs import incidents as verb

    verb.show(options, number)


@incidents.command(name="to-label")
@shared.any_target
@click.argument("number", type=int)
def incidents_to_label(options: TargetOptions, number: int) -> None:
    """Print a random sample of the rows that showed an incident and have no label yet, as CSV."""
    from pipelines.command.verbs import incidents as verb

    verb.to_label(options, number)


@incidents.command(name="acknowledge")
@shared.any_target
@click.argument("number", type=int)
@click.option("--who", required=True, help="Who deals with it.")
def incidents_acknowledge(options: TargetOptions, number: int, who: str) -> None:
    """Note who deals with an incident."""
    from pipelines.command.verbs import incidents as verb

    verb.acknowledge(options, number, who)


@incidents.command(name="resolve")
@shared.any_target
@click.argument("number", type=int)
@click.option("--as", "resolution", required=True, metavar="TEXT", help="What it was, and what was done.")
def incidents_resolve(options: TargetOptions, number: int, resolution: str) -> None:
    """Close an incident; a new sighting of its cause opens another one, which refers to it."""
    from pipelines.command.verbs import incidents as verb

    verb.resolve(options, number, resolution)


@main.group()
def labels() -> None:
    """Labels that have become known since the prediction."""


@labels.command(name="add")
@shared.any_target
@click.argument("table", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--request-id", metavar="COLUMN", help="The column with the request's id (default: request_id).")
@click.option("--entity", metavar="COLUMN", help="The column with the entity (default: the project's).")
@click.option("--time", metavar="COLUMN", help="The column with the event time (default: the project's).")
@click.option("--label", metavar="COLUMN", help="The column with the label (default: the project's).")
@click.option("--known-at", metavar="COLUMN", help="The column with the time at which the label became known.")
def labels_add(
    options: TargetOptions,
    table: Path,
    request_id: str | None,
    entity: str | None,
    time: str | None,
    label: str | None,
    known_at: str | None,
) -> None:
    """Add the labels of TABLE (CSV or parquet), by request id or by entity and time; again does nothing."""
    from pipelines.command.verbs import labels as verb
    from pipelines.scoring.late_labels import LabelColumns

    verb.add(options, table, LabelColumns(request_id, entity, time, label, known_at))


@main.group()
def outcomes() -> None:
    """Figures of entities that are no labels, such as what they bought, by which an A/B test compares two versions."""


@outcomes.command(name="add")
@shared.local_target
@click.argument("table", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--value", default="value", show_default=True, metavar="COLUMN", help="The column with the figure.")
@click.option("--request-id", metavar="COLUMN", help="The column with the request's id (default: request_id).")
@click.option("--entity", metavar="COLUMN", help="The column with the entity (default: the project's).")
@click.option("--time", metavar="COLUMN", help="The column with the event time (default: the project's).")
def outcomes_add(
    options: TargetOptions, table: Path, value: str, request_id: str | None, entity: str | None, time: str | None
) -> None:
    """Add the figures of TABLE (CSV or parquet), by request id or by entity and time; again does nothing."""
    from pipelines.command.verbs import labels as verb
    from pipelines.scoring.late_labels import LabelColumns

    verb.add_outcomes(options, table, LabelColumns(request_id, entity, time, value, None))


@main.command()
@shared.any_target
@click.argument("entities", nargs=-1, required=True, metavar="ENTITY...")
def forget(options: TargetOptions, entities: tuple[str, ...]) -> None:
    """Remove what the inference log and the labels hold about an entity."""
    from pipelines.command.verbs import forget as verb

    verb.forget(options, entities)


@main.command()
@shared.local_target
@click.argument("table", required=False, type=click.Path(path_type=Path))
@click.option(
    "--rate", type=click.FloatRange(0, min_open=True), default=50.0, show_default=True, help="Requests per second."
)
@click.option("--rows", type=click.IntRange(1), default=16, show_default=True, help="Most rows of a request.")
@click.option(
    "--months", type=click.IntRange(1), default=2, show_default=True, help="Months to simulate without TABLE."
)
@click.option("--switch", "switches", multiple=True, metavar="NAME[@YYYY-MM]", help="What goes wrong in them.")
def traffic(
    options: TargetOptions, table: Path | None, rate: float, rows: int, months: int, switches: tuple[str, ...]
) -> int:
    """Send the rows of TABLE to the running endpoint, or without TABLE customers of the shipped example."""
    from pipelines.command.verbs import traffic as verb

    return verb.traffic(options, table, rate=rate, rows_per_request=rows, months=months, switches=switches)


@main.command()
@shared.local_target
@click.option(
    "--to", "version", metavar="VERSION", help="Version to return to (default: the one that answered before)."
)
def rollback(options: TargetOptions, version: str | None) -> int:
    """Make the former version the champion again; it is queried before it takes over."""
    from pipelines.command.verbs import rollback as verb

    return verb.rollback(options, version)


@main.command()
@shared.any_target
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--version", metavar="VERSION", help="Version to export (default: the champion).")
def export(options: TargetOptions, folder: Path, version: str | None) -> None:
    """Write a released model into FOLDER, with a script that scores a CSV file with onnxruntime alone."""
    from pipelines.command.verbs import export as verb

    verb.export(options, folder, version)


@main.command(name="import")
@shared.any_target
@click.argument("saved_model", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--signature", default="serving_default", show_default=True, help="Takes serialized tf.train.Example.")
@click.option("--output", help="Output of the signature with the scores (default: its only one).")
def import_model(options: TargetOptions, saved_model: Path, folder: Path, signature: str, output: str | None) -> None:
    """Write a SavedModel that TFX exported into FOLDER, as a package that the model server answers from."""
    from pipelines.command.verbs import import_model as verb

    verb.import_model(options, saved_model, folder, signature, output)


@main.group()
def release() -> None:
    """The candidate that is exposed step by step, or waits for an approval."""


@release.command(name="status")
@shared.local_target
def release_status(options: TargetOptions) -> None:
    """Show where the release is, and what was counted of both versions."""
    from pipelines.command.verbs import release as verb

    verb.status(options)


@release.command(name="watch")
@shared.local_target
@click.option("--once", is_flag=True, help="Look once, instead of until the release has ended.")
def release_watch(options: TargetOptions, once: bool) -> int:
    """Go on with the release as the counts allow; 'perennial serve' does so, too."""
    from pipelines.command.verbs import release as verb

    return verb.watch(options, once=once)


@release.command(name="promote")
@shared.local_target
def release_promote(options: TargetOptions) -> int:
    """Skip the steps that are left."""
    from pipelines.command.verbs import release as verb

    return verb.promote(options)


@release.command(name="approve")
@shared.local_target
@click.option("--why", metavar="TEXT", help="What the approval rests on; it is recorded.")
def release_approve(options: TargetOptions, why: str | None) -> int:
    """Approve the candidate, as the account that runs this."""
    from pipelines.command.verbs import release as verb

    return verb.approve(options, why)


@release.command(name="abort")
@shared.local_target
@click.option("--why", required=True, metavar="TEXT", help="Why; it is recorded.")
def release_abort(options: TargetOptions, why: str) -> int:
    """Take the candidate back."""
    from pipelines.command.verbs import release as verb

    return verb.abort(options, why)


@release.command(name="history")
@shared.local_target
@click.option("--last", type=click.IntRange(1), default=20, show_default=True, help="Number of entries.")
def release_history(options: TargetOptions, last: int) -> None:
    """List what was decided about releases: when, by whom, why."""
    from pipelines.command.verbs import release as verb

    verb.history(options, last)


@main.group()
def audit() -> None:
    """Show or check the record of what was decided, or the features that were logged."""


@audit.command(name="show")
@shared.any_target
@click.option("--last", type=click.IntRange(1), default=20, show_default=True, help="Number of entries.")
def audit_show(options: TargetOptions, last: int) -> None:
    """List the newest entries: when, who, what, why."""
    from pipelines.command.verbs import audit as verb

    verb.show(options, last)


@audit.command(name="verify")
@shared.any_target
def audit_verify(options: TargetOptions) -> None:
    """Check that no entry was edited, removed or added since it was written."""
    from pipelines.command.verbs import audit as verb

    verb.verify(options)


@audit.command(name="skew")
@shared.local_target
@shared.window
@click.option(
    "--sample", "most_rows", type=click.IntRange(1), metavar="N", help="Compare about N logged rows (default: all)."
)
def audit_skew(options: TargetOptions, start: datetime | None, end: datetime | None, most_rows: int | None) -> int:
    """Compare logged features with those that the project's tables give as of the time of each request."""
    from pipelines.command.verbs import skew as verb

    return verb.audit(options, start, end, most_rows)


@main.command()
@shared.any_target
def status(options: TargetOptions) -> None:
    """Show what answers, the registered versions and the last runs."""
    from pipelines.command.verbs import status as verb

    verb.status(options)


@main.command()
@shared.target("laptop", "Target whose registry holds the version.")
@click.argument("version", required=False)
@click.option("--card", is_flag=True, help="Print the model card.")
def show(options: TargetOptions, version: str | None, card: bool) -> None:
    """Show where a registered version (default: the champion) came from, and what it measured."""
    from pipelines.command.verbs import show as verb

    verb.show(options, version, card=card)


@main.command()
@shared.local_target
@click.argument("run")
@click.option("--with-this-code", is_flag=True, help="Go on if the code of a step has changed since the run.")
def reproduce(options: TargetOptions, run: str, with_this_code: bool) -> int:
    """Make the candidate of RUN again from its recorded data and seed, and say which digits differ."""
    from pipelines.command.verbs import reproduce as verb

    return verb.reproduce(options, run, with_this_code=with_this_code)


@main.command()
@shared.any_target
@click.argument("first", metavar="RUN")
@click.argument("second", metavar="RUN")
@click.option("--second-target", metavar="NAME|FILE", help="Target of the second run (default: that of the first).")
def compare(options: TargetOptions, first: str, second: str, second_target: str | None) -> None:
    """Compare two runs: the metrics of their candidates, and what differs in data, code, model and outcome."""
    from pipelines.command.verbs import compare as verb

    other = options if second_target is None else TargetOptions(options.project, second_target)
    verb.compare((options, first), (other, second))


@main.command()
@shared.local_target
@click.argument("run", required=False)
@click.option("--open", "in_browser", is_flag=True, help="Open it in the browser.")
def report(options: TargetOptions, run: str | None, in_browser: bool) -> None:
    """Print the path of a run's report (default: the newest run)."""
    from pipelines.command.verbs import report as verb

    verb.report(options, run, in_browser=in_browser)


@main.command()
@shared.any_target
@click.option("--keep", type=click.IntRange(0), default=3, show_default=True, help="Newest runs to keep in any case.")
@click.option("--cache-days", type=click.FloatRange(0), help="Also remove virtualenvs unused for so many days.")
@click.option("--dry-run", is_flag=True, help="Only list what would be removed.")
@click.option("--wait", is_flag=True, help="Wait for a run that is under way instead of leaving.")
def gc(options: TargetOptions, keep: int, cache_days: float | None, dry_run: bool, wait: bool) -> None:
    """Remove what no release and no lineage needs."""
    from pipelines.command.verbs import gc as verb

    verb.gc(options, keep=keep, cache_days=cache_days, dry_run=dry_run, wait=wait)


def _images_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Which images, and what they start from, as ``names`` and ``source``: flags go before the target file."""

    @functools.wraps(command)
    def collected(*args: Any, options: TargetOptions, base: str | None, registry: str | None, **rest: Any) -> Any:
        from pipelines.command.verbs import images as verb

        return command(*args, source=verb.source(options, base=base, registry=registry), **rest)

    result: Callable[..., Any] = collected
    for option in (
        click.option("--registry", metavar="PREFIX", help="Prefix of the images, such as registry.example.com/team."),
        click.option("--base", metavar="IMAGE", help="Image with Python 3.11 that they start from."),
        shared.target("docker", "A target's name, or its file."),
        click.argument("names", nargs=-1, metavar="[NAME]..."),
    ):
        result = option(result)
    return result


@main.group()
def images() -> None:
    """List, build, push and lock the images."""


@images.command(name="list")
@_images_options
@click.option("--json", "as_json", is_flag=True, help="For a script.")
def images_list(names: tuple[str, ...], as_json: bool, source: Images) -> None:
    """Show references, sizes and digests."""
    from pipelines.command.verbs import images as verb

    verb.show(names, source, as_json)


@images.command(name="build")
@_images_options
def images_build(names: tuple[str, ...], source: Images) -> None:
    """Build what is missing; an unchanged image is left as it is."""
    from pipelines.command.verbs import images as verb

    verb.build(names, source)


@images.command(name="context")
@click.argument("name")
def images_context(name: str) -> None:
    """Write the build context of an image as a tar archive, for 'docker build -'."""
    from pipelines.command.verbs import images as verb

    verb.context(name)


@images.command(name="push")
@_images_options
def images_push(names: tuple[str, ...], source: Images) -> None:
    """Push what the registry lacks, and print its digests."""
    from pipelines.command.verbs import images as verb

    verb.push(names, source)


@images.command(name="lock")
@_images_options
def images_lock(names: tuple[str, ...], source: Images) -> None:
    """Write the registry's digests into infra/images.lock."""
    from pipelines.command.verbs import images as verb

    verb.lock(names, source)


@images.command(name="sbom")
@_images_options
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=Path("sbom"), show_default=True)
def images_sbom(names: tuple[str, ...], out: Path, source: Images) -> None:
    """Write a bill of materials (CycloneDX) per image."""
    from pipelines.command.verbs import images as verb

    verb.bill(names, source, out)


@main.command()
@click.argument("overlay", required=False)
@click.option("--golden", is_flag=True, help="Rewrite infra/rendered instead, with symbolic images.")
@click.option("--features/--no-features", default=True, help="Give the feature server the project's features.")
@shared.cluster_target
def manifests(overlay: str | None, golden: bool, features: bool, options: TargetOptions) -> None:
    """Print what infra/ puts on a cluster, for 'kubectl apply --server-side': kind, production or a folder."""
    from pipelines.command.verbs import manifests as verb

    if golden:
        for path in verb.rewrite_golden():
            click.echo(path)
    elif overlay is None:
        raise click.UsageError("name an overlay: kind, production, or a folder with a kustomization.yaml.")
    else:
        verb.print_manifests(overlay, options, features=features)


@main.command()
@click.option("--kubernetes", is_flag=True, help="As a PrometheusRule, for the Prometheus operator.")
@shared.local_target
def rules(kubernetes: bool, options: TargetOptions) -> None:
    """Print the Prometheus alerts for what the project promises (monitoring.slo)."""
    from pipelines.command.verbs import observing

    observing.print_rules(options, kubernetes=kubernetes)


@main.command()
def dashboard() -> None:
    """Print the Grafana dashboard of a model in production."""
    from pipelines.command.verbs import observing

    observing.print_dashboard()


@main.command()
def schema() -> None:
    """Print the JSON schema of project.yaml, for editors."""
    from pipelines.project import project_file

    click.echo(project_file.json_schema(), nl=False)


if __name__ == "__main__":
    main()
