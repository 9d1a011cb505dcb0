"""What a run ends with on the terminal: headline metrics, verdict, where to find the rest, one real answer."""

import json
import math
import time
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from components.shared.documents.evaluation import EvaluationReport
from components.shared.documents.measurements import ValueReport
from components.shared.documents.model_facts import ModelFacts
from components.shared.documents.training_history import TrainingHistory
from components.shared.documents.verdict import Ruling
from components.shared.wording import coverage, money, significant, where, worth
from pipelines import api, runs
from pipelines.definitions import catalog
from pipelines.runs.report import documents
from pipelines.targets.local import endpoint

_WARNINGS_SHOWN = 2
_SHOWN_LEVEL = 0.9


def show(run: runs.Run, page: Path, root: Path, console: Console) -> None:
    """Print the headline of a finished run."""
    written = documents.read(run.artifacts)
    for remark in _remarks(written):
        console.print(remark, style="yellow", highlight=False, markup=False, soft_wrap=True)
    if written.model and written.training and written.training.families:
        console.print(_candidate(written.model, written.training), highlight=False, markup=False, soft_wrap=True)
    if written.evaluation:
        _metrics(written.evaluation, console)
    for ruling in written.verdict.rules if written.verdict else ():
        console.print(f"  {_sign(ruling)} {escape(ruling.reason)}")
    if run.exit_code == runs.OK:
        for sentence in catalog.entry(run.pipeline).closing(run):
            console.print(sentence, style="bold green", markup=False)
    elif run.exit_code == runs.REJECTED:
        advice = run.artifacts.get("rejection.advice")
        if run.repeats:
            console.print(
                f"nothing to do: run {run.repeats} had the same data, project and code, and the same champion.",
                highlight=False,
            )
        version = written.champion.version if written.champion is not None else None
        kept = f"version {version} stays the champion" if version is not None else "nothing is released yet"
        console.print(f"[bold]rejected by the gate[/]; {kept}.", highlight=False)
        if advice:
            console.print(escape(Path(advice).read_text(encoding="utf-8").strip()))
    else:
        failed = next((step for step in run.steps if step.state == "failed"), None)
        where = f"{failed.name}: " if failed else ""
        console.print(f"[bold red]{run.state}[/]: {escape(where + (run.reason or 'unknown'))}")
        if failed and failed.log:
            console.print(f"log     {_short(Path(failed.log), root)}")
    console.print(f"report  {_short(page, root)}")


def ask(folder: Path, run: runs.Run, console: Console) -> None:
    """Send one real row to the endpoint and print question and answer."""
    [row, *_] = api.sample(Path(run.artifacts["training.model"]))
    began = time.perf_counter()
    answer = endpoint.ask(folder, [row], is_probe=True)
    took_ms = (time.perf_counter() - began) * 1000
    console.print(f"asked   {escape(json.dumps(row, ensure_ascii=False))}")
    console.print(f"answer  {escape(json.dumps(answer, ensure_ascii=False))}  ({took_ms:.0f} ms)")


def _metrics(evaluation: EvaluationReport, console: Console) -> None:
    baselines = evaluation.baselines.present
    console.print(f"on {evaluation.rows.test:,} test rows, {evaluation.confidence:.0%} intervals:")
    table = Table(box=None, padding=(0, 2, 0, 1))
    for heading in ("", "candidate", "interval", *baselines):
        table.add_column(heading, no_wrap=True)
    for name, metric in evaluation.metrics.items():
        others = [significant(values.get(name)) for values in baselines.values()]
        # Of a few rows all may have one label, and then a metric or its interval says nothing.
        defined = metric.low is not None and metric.high is not None
        interval = f"{significant(metric.low)} - {significant(metric.high)}" if defined else ""
        style = "bold" if name == evaluation.primary else ""
        table.add_row(name, significant(metric.value), interval, *others, style=style)
    console.print(table)
    sentences = _worth(evaluation.value), _threshold(evaluation), _coverage(evaluation), _worst_slice(evaluation)
    for sentence in sentences:
        if sentence is not None:
            console.print(sentence, highlight=False, markup=False, soft_wrap=True)


def _candidate(model: ModelFacts, training: TrainingHistory) -> str:
    """Say what the candidate is, and why it is not of another family."""
    losses = sorted(training.families.items(), key=lambda family: math.inf if family[1] is None else family[1])
    compared = ", ".join(f"{family} {significant(loss) or 'undefined'}" for family, loss in losses)
    within = "; within one standard error, the simpler one" if losses[0][0] != model.family else ""
    reason = f" (validation loss: {compared}{within})" if len(losses) > 1 and model.family in training.families else ""
    return f"the candidate is {model.description}{reason}"


def _worth(value: ValueReport | None) -> str | None:
    """Say what acting on the model gains, with both absolute figures where doing nothing costs money."""
    if value is None:
        return None
    sentence = (
        f"acting on the model is {worth(value.total, value.currency)} on the test rows, "
        f"{money(value.per_1000, value.currency)} per 1,000"
    )
    if not value.nobody or value.absolute is None:
        return sentence
    absolute, nobody = (money(amount, value.currency) for amount in (value.absolute, value.nobody))
    return f"{sentence} ({absolute} instead of {nobody})"


def _coverage(evaluation: EvaluationReport) -> str | None:
    """Say how many labels the intervals or sets of a usual level held; None without such a level."""
    part = next((part for part in evaluation.coverage if part.level == _SHOWN_LEVEL), None)
    return None if part is None else coverage(part, evaluation.task, evaluation.rows.test)


def _worst_slice(evaluation: EvaluationReport) -> str | None:
    """Name the slice with the largest loss, and whether chance explains it; None where none was searched for."""
    worst = evaluation.worst
    if worst is None or not worst.difference:
        return None
    whole = significant(evaluation.primary_metric.value)
    chance = "beyond chance" if worst.beyond_chance else "within chance"
    return (
        f"worst slice: {where(worst.where)} ({worst.rows:,} rows), {evaluation.primary} {significant(worst.metric)} "
        f"against {whole} on all rows, {chance} (p = {worst.p_adjusted:.2g})"
    )


def _remarks(written: documents.Documents) -> Iterator[str]:
    """Say what was left out, and what validation and split warn of, in a line each."""
    examples, rows = written.training_set, written.split
    if examples is not None and examples.left_out_young:
        yield f"left out: {examples.left_out_young:,} examples whose label is not due yet"
    warnings = (
        [finding.sentence for finding in written.validation.findings if finding.reaction == "warn"]
        if written.validation
        else []
    )
    if rows is not None and rows.repeated_test_rows:
        warnings.append(f"{rows.repeated_test_rows:,} test rows repeat a training row")
    if warnings:
        first = "; ".join(sentence.rstrip(".") for sentence in warnings[:_WARNINGS_SHOWN])
        more = f"; {len(warnings) - _WARNINGS_SHOWN} more in the report" if len(warnings) > _WARNINGS_SHOWN else ""
        yield f"{len(warnings)} warning{'s' if len(warnings) > 1 else ''}: {first}{more}"


def _threshold(evaluation: EvaluationReport) -> str | None:
    """Say from which score on the answer is positive, and why; None where nothing is decided."""
    if evaluation.threshold is None or evaluation.confusion is None:
        return None
    reason = (
        "a false and a missed alarm cost the same, as the project file has no 'value'"
        if evaluation.value is None
        else "by the 'value' of the project file"
    )
    positive = evaluation.confusion.labels[-1]
    return f"scores from {significant(evaluation.threshold)} on are answered '{positive}': {reason}"


def _sign(ruling: Ruling) -> str:
    if ruling.remark is not None:
        return f"[yellow]! {ruling.remark}:[/]"
    return "[green]✓[/]" if ruling.passed else "[red]✗[/]"


def _short(path: Path, root: Path) -> Path:
    return path.relative_to(root) if path.is_relative_to(root) else path
