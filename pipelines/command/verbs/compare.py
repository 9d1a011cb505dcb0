"""``perennial compare``: what two runs had in common, and what their candidates measured."""

from collections.abc import Iterator
from contextlib import AbstractContextManager

from rich.table import Table

from components.shared.errors import InputError
from components.shared.wording import interval, significant
from pipelines.command import terminal
from pipelines.command.options import TargetOptions
from pipelines.runs import Run
from pipelines.runs.report import documents
from pipelines.runs.report.documents import Documents

_NAMED = 5
"""Features that are named where two models differ in them."""
NamedRun = tuple[TargetOptions, str]
"""A target, and the id of a run there, or the beginning of one."""


def compare(first: NamedRun, second: NamedRun) -> None:
    """Print both runs side by side: metrics of the candidates, and what differs in data, code, model and outcome.

    Raises:
        InputError: If there is no such run, or it did not come to an evaluation.
    """
    console = terminal.console()
    with _results(first) as one, _results(second) as other:
        pair = [(run, _read(run)) for run in (one, other)]
    if pair[0][0].id == pair[1][0].id:
        raise InputError(f"{first[1]!r} and {second[1]!r} are the same run {pair[0][0].id}; name two runs.")
    console.print(_metrics(pair))
    console.print(_differences(pair))
    console.print(
        "Both were measured on the same test rows."
        if _judged(pair[0][1]) == _judged(pair[1][1]) is not None
        else "They were measured on different test rows, so a difference may be that of the rows.",
        highlight=False,
    )


def _results(named: NamedRun) -> AbstractContextManager[Run]:
    options, run = named
    return options.open().results(run)


def _read(run: Run) -> Documents:
    written = documents.read(run.artifacts)
    if written.evaluation is None:
        raise InputError(f"run {run.id} ended as {run.state!r} before it had evaluated a model; compare runs that did.")
    return written


def _judged(written: Documents) -> tuple[object, ...] | None:
    """Return what tells test rows apart; None if that is not known.

    Of equal splits, rows are left out that the respective champion has learned from.
    """
    if written.split is None or written.evaluation is None:
        return None
    rows, champion = written.evaluation.rows, written.evaluation.champion
    left_out = (champion.version, rows.excluded_by_champion) if rows.excluded_by_champion else None
    return written.split.content_hash, rows.test, left_out


def _metrics(pair: list[tuple[Run, Documents]]) -> Table:
    table = Table("", *(run.id for run, _ in pair), "difference", box=None)
    measured = [written.evaluation.metrics for _, written in pair if written.evaluation is not None]
    primary = {written.evaluation.primary for _, written in pair if written.evaluation is not None}
    for name in sorted(set(measured[0]) | set(measured[1])):
        both = [metrics.get(name) for metrics in measured]
        before, after = (None if metric is None else metric.value for metric in both)
        difference = f"{after - before:+.4f}" if before is not None and after is not None else ""
        shown = ["" if metric is None else interval(metric) for metric in both]
        table.add_row(name, *shown, difference, style="bold" if name in primary else "")
    return table


def _differences(pair: list[tuple[Run, Documents]]) -> Table:
    table = Table("", *(run.id for run, _ in pair), box=None)
    first, second = (dict(_facts(run, written)) for run, written in pair)
    for facts, own, others in zip((first, second), *_features(pair), strict=True):
        if only := sorted(own - others):
            facts["features"] += f"; only here: {', '.join(only[:_NAMED])}{', …' if len(only) > _NAMED else ''}"
    for name in dict.fromkeys([*first, *second]):
        values = first.get(name, ""), second.get(name, "")
        if values[0] != values[1]:
            table.add_row(name, *values)
    return table


def _features(pair: list[tuple[Run, Documents]]) -> tuple[list[set[str]], list[set[str]]]:
    """Return the features of each model, and beside them those of the other one."""
    names = [{feature.name for feature in written.model.features} if written.model else set() for _, written in pair]
    return names, names[::-1]


def _facts(run: Run, written: Documents) -> Iterator[tuple[str, str]]:
    yield "outcome", run.state + (f", version {written.release.version}" if written.release else "")
    if run.commit:
        yield "commit", run.commit[:12]
    if written.snapshot:
        yield "data", written.snapshot.content_hash[:12]
        yield "source rows", ", ".join(f"{name} {table.rows:,}" for name, table in written.snapshot.tables.items())
    if written.split:
        yield "rows", ", ".join(f"{rows:,} {part}" for part, rows in written.split.rows)
    if written.model:
        yield "model", written.model.description or written.model.family
        yield "features", f"{len(written.model.features)}"
        yield "seed", f"{written.model.seed}"
        yield "threshold", significant(written.model.threshold)
        yield from ((name, f"{value}") for name, value in sorted(written.model.hyperparameters.items()))
