"""``perennial predict``: send rows to the endpoint, or score a table with a released model."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from components.shared import inference, sources
from components.shared.errors import InputError
from components.shared.inference import Subject
from components.shared.wording import quoted
from pipelines import api, runs
from pipelines.command import terminal
from pipelines.command.options import TargetOptions
from pipelines.targets import samples

if TYPE_CHECKING:
    from pipelines.scoring.scored_table import ScoredTable


def predict(
    options: TargetOptions,
    text: str | None,
    *,
    sample: bool,
    explains: bool,
    interval: float | None,
    subject: Subject | None = None,
) -> int:
    """Ask the endpoint for the predictions of rows; start it for the question where none runs."""
    if sample and text is not None:
        raise InputError("a row and --sample were both given; give one of them.")
    backend = options.open()
    if subject is None:
        rows = None if sample else _rows(text)
    else:
        rows = _rows(text) if text else [{} for _ in subject.entity]
        if not backend.project.serving.online_features:
            raise InputError(
                "--entity looks features up, and 'serving: online_features' of the project file is false; set it to "
                "true, and start the server again."
            )
    answer = backend.ask(rows, explains=explains, interval=interval, subject=subject)
    for prediction in answer["predictions"]:
        if "contributions" in prediction:
            prediction["contributions"] = inference.largest_first(prediction["contributions"])
            errors = prediction["contribution_errors"]
            prediction["contribution_errors"] = {name: errors[name] for name in prediction["contributions"]}
    if sample:
        # Standard output holds the answer alone, for scripts.
        [row, *_] = samples.last(backend.state)
        click.echo(terminal.visible(f"asked   {json.dumps(row, ensure_ascii=False)}"), err=True)
    click.echo(terminal.visible(json.dumps(answer, ensure_ascii=False, indent=1)))
    return runs.OK


def predict_table(
    options: TargetOptions, table: Path, out: Path | None, version: str | None, *, interval: float | None
) -> int:
    """Score all rows of a table, write them, and say what was ignored or could not be read."""
    out = out or Path(f"{sources.stem(table.resolve())}_scores.csv")
    console = terminal.console()
    columns = TextColumn("scoring"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    with bar:
        task = bar.add_task("scoring", total=None)
        scored = api.score_table(
            table,
            out,
            options.project,
            version=version,
            interval=interval,
            target=options.target,
            overrides=options.overrides,
            progress=lambda done, rows: bar.update(task, completed=done, total=rows),
        )
    for sentence in _sentences(scored):
        console.print(sentence, highlight=False, markup=False, soft_wrap=True)
    return runs.OK


def _sentences(scored: "ScoredTable") -> list[str]:
    sentences = [f"scored {scored.rows:,} rows with version {scored.version}: {scored.out}"]
    if scored.decisions:
        counted = ", ".join(f"{decision!r} {rows:,}" for decision, rows in scored.decisions.items())
        sentences.append(f"decisions: {counted}")
    if scored.ignored:
        sentences.append(f"passed through, but not used: {quoted(scored.ignored)}")
    if scored.replaced:
        sentences.append(f"replaced by the new scores: {quoted(scored.replaced)}")
    for name, count in scored.unreadable.items():
        sentences.append(f"taken as missing: {_counted(count, 'value')} of '{name}' of another type")
    for name, count in scored.unknown.items():
        sentences.append(f"unknown to the model: the value of '{name}' in {_counted(count, 'row')}")
    return sentences


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _rows(text: str | None) -> list[dict[str, Any]]:
    if not text:
        raise InputError(
            "no row was given; pass a JSON object as the argument, '-' for standard input, --sample, or --table FILE."
        )
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(
            f"the row is not JSON ({error.msg} at character {error.pos}); write it like '{{\"feature\": 1}}'."
        ) from None
    rows = value if isinstance(value, list) else [value]
    if not rows or not all(isinstance(row, dict) for row in rows):
        raise InputError(f"the row is {type(value).__name__}; expected a JSON object, or a list of objects.")
    return rows
