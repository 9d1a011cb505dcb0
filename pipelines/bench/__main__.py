"""Measure everything and print one table of ratios: ``python -m pipelines.bench``."""

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from components.shared import telemetry
from pipelines import runs
from pipelines.bench import serving
from pipelines.command import terminal
from pipelines.images import environments

TOOLS = Path(__file__).with_name("requirements.txt")


def main() -> None:
    """Run every measurement in the virtualenv of what it measures."""
    console = terminal.console()
    table = Table("what", "measured", "beside", "ratio", box=None)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        example = _example(folder, console)
        package = Path(example["artifacts"]["training.model"])
        for measure in (
            lambda: _orchestration(folder),
            lambda: _validation(folder),
            lambda: _retrieval(folder, 100_000),
            lambda: _retrieval(folder, 1_000_000),
            lambda: _tuning(example, folder),
            lambda: _serving(package),
        ):
            for row in measure():
                table.add_row(*row)
                console.print(" | ".join(row), style="dim")
    today = datetime.now(UTC).date()
    console.print(f"\n{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}, {today}")
    console.print(table)


def _example(folder: Path, console: Console) -> dict[str, Any]:
    """Run the shipped example once, for real splits and a real model."""
    project = folder / "example"
    project.mkdir()
    shutil.copy(environments.ROOT / "project.yaml", project)
    shutil.copytree(environments.ROOT / "feature_repo", project / "feature_repo")
    perennial = Path(sys.executable).parent / "perennial"
    subprocess.run([str(perennial), "run", "--simulate"], cwd=project, stdout=subprocess.DEVNULL)
    record = runs.latest(project / ".perennial" / "runs")
    assert record is not None
    steps = sum(step["seconds"] or 0 for step in record["steps"])
    console.print(f"the example ran in {steps:.0f} s of steps and ended as {record['state']!r}", style="dim")
    return record


def _orchestration(folder: Path) -> list[tuple[str, str, str, str]]:
    measured = _run(Path(sys.executable), "orchestration", folder / "orchestration")
    ours = measured.pop("perennial")
    return [
        (
            "seconds of a task that does nothing",
            f"{ours:.2f}",
            f"{name}: {theirs:.2f}" if theirs else f"{name}: could not run",
            f"{ours / theirs:.2f}" if theirs else "",
        )
        for name, theirs in measured.items()
    ]


def _validation(folder: Path) -> list[tuple[str, str, str, str]]:
    python = environments.virtualenv(TOOLS, environments.lock_of("data_validation"), name="bench")
    measured = _run(python, "validation", folder / "validation")
    ours, theirs = measured["validation_s"], measured["describe_s"]
    shown = f"{ours:.1f} s, peak {measured['peak_mib']:.0f} MiB"
    return [("validation of 1 M rows x 20 columns", shown, f"polars describe: {theirs:.2f} s", f"{ours / theirs:.1f}")]


def _retrieval(folder: Path, entities: int) -> list[tuple[str, str, str, str]]:
    [environment] = environments.prepare(["feature_retrieval"]).values()
    measured = _run(environment.python, "retrieval", folder / f"retrieval{entities}", entities)
    ours, theirs = measured["feast_s"], measured["asof_s"]
    return [
        (
            f"retrieval for {entities:,} entities",
            f"{ours:.1f} s",
            f"DuckDB ASOF: {theirs:.2f} s",
            f"{ours / theirs:.1f}",
        )
    ]


def _tuning(example: dict[str, Any], folder: Path) -> list[tuple[str, str, str, str]]:
    [environment] = environments.prepare(["tuning"]).values()
    bundled, splits = example["outputs"]["bundle"], example["artifacts"]["split.splits"]
    measured = _run(environment.python, "tuning", bundled, splits, folder / "tuning")
    plain = measured.pop("none")
    return [
        (
            f"20 trials with {name} pruning",
            f"{study['seconds']:.0f} s, {study['epochs']} epochs, best {study['best']:.4f}",
            f"unpruned: {plain['seconds']:.0f} s, {plain['epochs']} epochs, best {plain['best']:.4f}",
            f"{study['seconds'] / plain['seconds']:.2f}",
        )
        for name, study in measured.items()
    ]


def _serving(package: Path) -> list[tuple[str, str, str, str]]:
    python = environments.virtualenv(TOOLS, environments.lock_of("serving"), name="bench")
    return [
        (
            f"requests of {load.rows} row{'s' if load.rows > 1 else ''}, {load.connections} connections",
            f"{load.served_per_s:.0f} /s",
            f"bare FastAPI + uvicorn: {load.floor_per_s:.0f} /s",
            f"{load.share:.2f}",
        )
        for load in serving.measure(python, package)
    ]


def _run(python: Path, module: str, *arguments: object) -> Any:
    """Run one measurement as a process and read the JSON of its last line."""
    Path(str(arguments[-1] if module == "tuning" else arguments[0])).mkdir(parents=True, exist_ok=True)
    command = [str(python), "-m", f"pipelines.bench.{module}", *map(str, arguments)]
    env = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"} | telemetry.OFF
    done = subprocess.run(command, cwd=environments.ROOT, env=env, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.strip().splitlines()[-1])


if __name__ == "__main__":
    main()
