"""What a run ends with on the terminal: headline metrics, verdict, where the rest stands, one real answer."""

import json
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipelines import api, runs
from pipelines.targets.local import endpoint


def show(run: runs.Run, page: Path, root: Path, console: Console) -> None:
    """Print the headline of a finished run."""
    measured = _read(run, "evaluation.report", "evaluation.json")
    if measured:
        _metrics(measured, console)
    verdict = _read(run, "gate.verdict")
    for rule in verdict["rules"] if verdict else []:
        sign = "[green]✓[/]" if rule["passed"] else "[red]✗[/]"
        console.print(f"  {sign} {escape(rule['reason'])}")
    if run.exit_code == runs.OK:
        console.print(_released(run))
    elif run.exit_code == runs.REJECTED:
        advice = run.artifacts.get("rejection.advice")
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


def _metrics(measured: dict[str, Any], console: Console) -> None:
    baselines = {name: values for name, values in measured["baselines"].items() if values}
    console.print(f"on {measured['rows']['test']:,} test rows, {measured['confidence']:.0%} intervals:")
    table = Table(box=None, padding=(0, 2, 0, 1))
    for heading in ("", "candidate", "interval", *baselines):
        table.add_column(heading, no_wrap=True)
    for name, metric in measured["metrics"].items():
        others = [_short_number(values.get(name)) for values in baselines.values()]
        # Of a few rows all may have one label, and then a metric or its interval says nothing.
        bounds = (metric["low"], metric["high"])
        interval = "" if None in bounds else f"{bounds[0]:.4g} - {bounds[1]:.4g}"
        style = "bold" if name == measured["primary"] else ""
        table.add_row(name, _short_number(metric["value"]), interval, *others, style=style)
    console.print(table)
    if value := measured.get("value"):
        console.print(f"acting on it is worth {value['per_1000']:,.0f} {escape(value['currency'])} per 1,000 rows")


def _short_number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _released(run: runs.Run) -> str:
    release = _read(run, "registration.release", "release.json")
    version = f"version {release['version']}" if release else "the model"
    if run.outputs.get("deployment.Output") == "unchanged":
        return f"[bold]nothing to do[/]: the candidate is {version}, which answers already."
    return f"[bold green]released[/] {version}"


def _read(run: runs.Run, artifact: str, name: str | None = None) -> Any:
    path = run.artifacts.get(artifact)
    file = Path(path, name) if path and name else Path(path) if path else None
    return json.loads(file.read_text(encoding="utf-8")) if file and file.exists() else None


def _short(path: Path, root: Path) -> Path:
    return path.relative_to(root) if path.is_relative_to(root) else path
