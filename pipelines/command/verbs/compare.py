"""``perennial compare``: what two runs had in common, and what their candidates measured."""

from collections.abc import Iterator

from rich.table import Table

from components.shared.errors import InputError
from components.shared.wording import significant
from pipelines.command import terminal
from pipelines.command.options import TargetOptions
from pipelines.runs import Run
from pipelines.runs.report import documents
from pipelines.runs.report.documents import Documents


def compare(options: TargetOptions, first: str, second: str) -> None:
    """Print both runs side by side: metrics of the candidates, and what differs in data, model and outcome.

    Args:
        options: The project and its target.
        first: The id of a run, or the beginning of one.
        second: Another.

    Raises:
        InputError: If there is no such run, or it did not come to an evaluation.
    """
    backend, console = options.open(), terminal.console()
    with backend.logs(first) as one, backend.logs(second) as other:
        pair = [(run, _read(run)) for run in (one, other)]
    if pair[0][0].id == pair[1][0].id:
        raise InputError(f"{first!r} and {second!r} are the same run {pair[0][0].id}; name two runs.")
    console.print(_metrics(pair))
    console.print(_differences(pair))
    splits = [found.split.content_hash for _, found in pair if found.split is not None]
    console.print(
        "Both were measured on the same test rows."
        if len(set(splits)) == 1
        else "They were measured on different test rows, so a difference may be that of the rows.",
        highlight=False,
    )


def _read(run: Run) -> Documents:
    found = documents.read(run.artifacts)
    if found.evaluation is None:
        raise InputError(f"run {run.id} ended as {run.state!r} before it had evaluated a model; compare runs that did.")
    return found


def _metrics(pair: list[tuple[Run, Documents]]) -> Table:
    table = Table("", *(run.id for run, _ in pair), "difference", box=None)
    measured = [found.evaluation.metrics for _, found in pair if found.evaluation is not None]
    primary = {found.evaluation.primary for _, found in pair if found.evaluation is not None}
    for name in sorted(set(measured[0]) | set(measured[1])):
        values = [metrics[name].value if name in metrics else None for metrics in measured]
        before, after = values
        difference = f"{after - before:+.4f}" if before is not None and after is not None else ""
        table.add_row(name, *map(significant, values), difference, style="bold" if name in primary else "")
    return table


def _differences(pair: list[tuple[Run, Documents]]) -> Table:
    table = Table("", *(run.id for run, _ in pair), box=None)
    first, second = (dict(_facts(run, found)) for run, found in pair)
    for name in dict.fromkeys([*first, *second]):
        values = first.get(name, ""), second.get(name, "")
        if values[0] != values[1]:
            table.add_row(name, *values)
    return table


def _facts(run: Run, found: Documents) -> Iterator[tuple[str, str]]:
    yield "outcome", run.state + (f", version {found.release.version}" if found.release else "")
    if found.snapshot:
        yield "data", found.snapshot.content_hash[:12]
        yield "source rows", ", ".join(f"{name} {table.rows:,}" for name, table in found.snapshot.tables.items())
    if found.split:
        yield "rows", ", ".join(f"{rows:,} {part}" for part, rows in found.split.rows)
    if found.model:
        yield "model", found.model.description or found.model.family
        yield "features", f"{len(found.model.features)}"
        yield "seed", f"{found.model.seed}"
        yield "threshold", significant(found.model.threshold)
        yield from ((name, f"{value}") for name, value in sorted(found.model.hyperparameters.items()))
