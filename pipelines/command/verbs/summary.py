"""What a run ends with on the terminal: headline metrics, verdict, where to find the rest, one real answer."""

import json
import time
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from components.shared.documents.evaluation import EvaluationReport
from components.shared.documents.verdict import Ruling
from pipelines import api, runs
from pipelines.definitions import catalog
from pipelines.runs.report import documents
from pipelines.targets.local import endpoint


def show(run: runs.Run, page: Path, root: Path, console: Console) -> None:
    """Print the headline of a finished run."""
    written = documents.read(run.artifacts)
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
        console.print("[bold]rejected by the gate[/]; the champion stays.")
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
    answer = endpoint.ask(folder, [row])
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
        others = [_short_number(values.get(name)) for values in baselines.values()]
        # Of a few rows all may have one label, and then a metric or its interval says nothing.
        defined = metric.low is not None and metric.high is not None
        interval = f"{metric.low:.4g} - {metric.high:.4g}" if defined else ""
        style = "bold" if name == evaluation.primary else ""
        table.add_row(name, _short_number(metric.value), interval, *others, style=style)
    console.print(table)
    if worth := evaluation.value:
        console.print(f"acting on it is worth {worth.per_1000:,.0f} {escape(worth.currency)} per 1,000 rows")


def _sign(ruling: Ruling) -> str:
    if ruling.remark is not None:
        return f"[yellow]! {ruling.remark}:[/]"
    return "[green]✓[/]" if ruling.passed else "[red]✗[/]"


def _short_number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _short(path: Path, root: Path) -> Path:
    return path.relative_to(root) if path.is_relative_to(root) else path
