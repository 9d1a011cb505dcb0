"""Runs of the shipped example, each in a new project."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

from components.shared.documents.evaluation import EvaluationReport
from components.shared.errors import ExitCode, StepFailed
from pipelines import runs
from pipelines.images import environments

_ALONE = ("--set", "interpreters_ahead=0")


def run(project: Path, *options: str) -> runs.Run:
    """Simulate the tables in a new folder and run the pipeline on them.

    Args:
        project: The folder; its parents are created.
        options: More options of ``perennial run``.

    Raises:
        StepFailed: If the run neither released a model nor ended at the gate.
    """
    project.mkdir(parents=True)
    shutil.copy(environments.ROOT / "project.yaml", project)
    shutil.copytree(environments.ROOT / "feature_repo", project / "feature_repo")
    command = [str(Path(sys.executable).parent / "perennial"), "run", "--simulate", *options]
    done = subprocess.run(command, cwd=project, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    # A rejected candidate is as good to measure as a released one.
    if done.returncode not in (ExitCode.OK, ExitCode.REJECTED):
        raise StepFailed(
            f"the shipped example ended with exit code {done.returncode}, so its model cannot be measured: "
            f"{done.stderr.strip()[-2000:]}"
        )
    [record] = (project / ".perennial" / "runs").glob("*/run.json")
    return runs.load(record)


def race(folder: Path, pairs: int) -> tuple[float, float]:
    """Time first runs with and without interpreters that start ahead, by turns.

    Returns:
        Seconds of the fastest run of each kind, which other processes disturbed least.

    Raises:
        StepFailed: If a run fails, or the two kinds differ in any metric.
    """
    run(folder / "warm-up")
    seconds: dict[tuple[str, ...], list[float]] = {(): [], _ALONE: []}
    for number in range(pairs):
        metrics = []
        for options, times in seconds.items():
            began = time.perf_counter()
            record = run(folder / f"{number}-{len(options)}", *options)
            times.append(time.perf_counter() - began)
            metrics.append(EvaluationReport.read(Path(record.artifacts["evaluation.report"])).metrics)
        if metrics[0] != metrics[1]:
            raise StepFailed(
                f"interpreters that start ahead changed the metrics: {metrics[0]} instead of {metrics[1]}; compare the "
                "logs of the steps."
            )
    return min(seconds[()]), min(seconds[_ALONE])
