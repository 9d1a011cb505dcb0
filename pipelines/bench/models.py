"""Compare with boosting libraries on a folder of tables: ``python -m pipelines.bench.models FOLDER [SPLITS]``.

Every table is taken as a new user would: ``perennial init`` and the steps of ``perennial run``, with nothing edited.
"""

import csv
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.stats
import yaml
from rich.table import Table

from components.shared.errors import InputError, PerennialError, StepFailed
from pipelines import runs
from pipelines.bench.parts import Workspace
from pipelines.command import terminal
from pipelines.images import environments

OURS = "Perennial"
_LABELS = "labels.yaml"
_COLUMNS = ("table", "rows", "candidates", "metric", "ours", "beside", "difference", "s", "ms a row", "MiB")
_CONFIDENCE = 0.95
_TEST_PER_TRAIN_ROW = 0.2 / 0.65


class Difference(NamedTuple):
    """The mean difference of a metric over paired splits, with its interval."""

    mean: float
    low: float
    high: float


def main(arguments: Sequence[str]) -> int:
    """Compare on every table of a folder and on those of scikit-learn; return the exit code."""
    try:
        if not 1 <= len(arguments) <= 2:
            raise InputError("expected a folder of CSV files: make bench-models TABLES=FOLDER, perhaps with SPLITS=10.")
        _compare(Path(arguments[0]), int(arguments[1]) if len(arguments) > 1 else 10)
    except PerennialError as error:
        print(f"perennial: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def paired(differences: Sequence[float]) -> Difference:
    """Return the mean over random splits with the corrected resampled t interval (Nadeau and Bengio, 2003).

    The splits share rows, so that their differences vary less than those of new tables; the variance is multiplied by
    1/n + test rows / training rows instead of 1/n.

    >>> paired([0.01, 0.01, 0.01])
    Difference(mean=0.01, low=0.01, high=0.01)
    """
    values = np.array(differences)
    spread = values.std(ddof=1) * np.sqrt(1 / len(values) + _TEST_PER_TRAIN_ROW) if len(values) > 1 else np.nan
    reach = spread * scipy.stats.t.ppf((1 + _CONFIDENCE) / 2, max(1, len(values) - 1))
    ends = values.mean(), values.mean() - reach, values.mean() + reach
    return Difference(*(round(float(end), 6) for end in ends))


def tables(folder: Path) -> Iterator[tuple[Path, str]]:
    """Yield each CSV file and its label: that of ``labels.yaml`` in the folder, or else its last column.

    Raises:
        InputError: If there is none.
    """
    named = yaml.safe_load((folder / _LABELS).read_text(encoding="utf-8")) if (folder / _LABELS).exists() else {}
    paths = sorted(folder.glob("*.csv"))
    if not paths:
        raise InputError(f"{folder} has no CSV file; expected a folder of tables.")
    for path in paths:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            line = stream.readline()
        header = next(csv.reader([line], csv.Sniffer().sniff(line, ",;\t|")))
        yield path, named.get(path.name, header[-1].strip())


def _compare(folder: Path, splits: int) -> None:
    console = terminal.console()
    table = Table(*_COLUMNS, box=None)
    with tempfile.TemporaryDirectory() as temporary:
        workspace = Workspace(Path(temporary))
        [environment] = environments.prepare(["training"]).values()
        shipped = Path(temporary) / "shipped"
        shipped.mkdir()
        subprocess.run(
            [environment.python, "-m", "pipelines.bench.shipped", shipped], cwd=environments.ROOT, check=True
        )
        for path, label in (*tables(folder), *tables(shipped)):
            console.print(f"comparing on {path.name}, label {label}", style="dim")
            project = _project(path, label, Path(temporary) / "projects" / path.stem)
            measured = workspace.run(
                environment.python, "contest", path.stem, project / "project.yaml", _training_set(project), splits
            )
            for row in _rows(path.stem, measured):
                table.add_row(*row)
                console.print(" | ".join(row), style="dim")
    today = datetime.now(UTC).date()
    console.print(f"\n{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}, {today}")
    console.print(table)


def _project(table: Path, label: str, folder: Path) -> Path:
    """Make a project of a table, and join its rows with their features."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    perennial = str(Path(sys.executable).parent / "perennial")
    for command, where in (
        (["init", str(table.resolve()), "--label", label, "--out", str(folder)], folder.parent),
        (["run", "--pipeline", "retrieval"], folder),
    ):
        done = subprocess.run(
            [perennial, *command], cwd=where, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        if done.returncode:
            raise StepFailed(f"'perennial {command[0]}' of {table.name} failed: {done.stderr.strip()[-1000:]}")
    return folder


def _training_set(project: Path) -> Path:
    [record] = (project / ".perennial" / "runs").glob("*/run.json")
    return Path(runs.load(record).artifacts["feature_retrieval.training_set"]) / "rows.parquet"


def _rows(name: str, measured: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """Write one line per contender."""
    splits = measured["splits"]
    families = [split["family"] for split in splits]
    chosen = ", ".join(f"{families.count(family)} {family}" for family in sorted(set(families)))
    metric = {"binary": "AUC", "multiclass": "mean AUC", "regression": "R2"}[measured["task"]]
    ours = np.mean([split["metrics"][OURS] for split in splits])
    for contender in [other for other in splits[0]["metrics"] if other != OURS]:
        difference = paired([split["metrics"][OURS] - split["metrics"][contender] for split in splits])
        theirs = np.mean([split["metrics"][contender] for split in splits])
        seconds = [np.mean([split["seconds"].get(side, np.nan) for split in splits]) for side in (OURS, contender)]
        yield (
            name, f"{measured['rows']:,}", chosen, metric, f"{ours:.4f}", f"{contender} {theirs:.4f}",
            f"{difference.mean:+.4f} ({difference.low:+.4f} to {difference.high:+.4f})",
            f"{seconds[0]:.1f} / {seconds[1]:.1f}", f"{np.median([split['row_ms'] for split in splits]):.3f}",
            f"{np.mean([split['size_mib'] for split in splits]):.2f}",
        )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
