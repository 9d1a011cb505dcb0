"""Perennial from Python: what the verbs do, without a terminal; the notebook calls the same functions.

>>> from pipelines import api
>>> run = api.submit("churn", seed=7)                       # doctest: +SKIP
>>> run.metrics["auc"].value, api.load(run.model)           # doctest: +SKIP
"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from components.shared.documents.evaluation import EvaluationReport
from components.shared.documents.measurements import Metric
from components.shared.documents.package_sample import SampleRow
from components.shared.documents.snapshot import SnapshotDescription
from components.shared.errors import InputError, StepFailed
from components.shared.inference import Subject
from pipelines import runs
from pipelines.command import terminal
from pipelines.command.view import View
from pipelines.definitions import catalog
from pipelines.runs.report import documents
from pipelines.targets import samples
from pipelines.targets.opening import open_backend
from pipelines.targets.protocol import Backend, RunRequest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from components.shared.package.table_model import TableModel
    from pipelines.scoring.scored_table import ScoredTable


@dataclass(frozen=True)
class Finished:
    """A run that came to its end, whichever that was, and what it left."""

    record: runs.Run
    page: Path

    @property
    def state(self) -> str:
        """Say in one word how it ended: finished, rejected, failed ..."""
        return self.record.state

    @cached_property
    def documents(self) -> documents.Documents:
        """What the steps wrote; None for each that did not come to it."""
        return documents.read(self.record.artifacts)

    @property
    def evaluation(self) -> EvaluationReport:
        """All that was measured on the test rows.

        Raises:
            StepFailed: If the run ended before; the sentence says why.
        """
        if self.documents.evaluation is None:
            raise StepFailed(f"{self._ended('evaluated')}")
        return self.documents.evaluation

    @property
    def metrics(self) -> dict[str, Metric]:
        """The metrics by name; see ``evaluation``."""
        return self.evaluation.metrics

    @property
    def version(self) -> str | None:
        """The version in the registry; None where the model was not registered."""
        return self.documents.release.version if self.documents.release else None

    @property
    def rules(self) -> dict[str, bool]:
        """The sentence of each rule of the gate, and whether it passed; empty if the run ended before."""
        verdict = self.documents.verdict
        return {ruling.reason: ruling.passed for ruling in verdict.rules} if verdict else {}

    @property
    def model(self) -> Path:
        """The folder of the model package.

        Raises:
            StepFailed: If the run ended before; the sentence says why.
        """
        if "training.model" not in self.record.artifacts:
            raise StepFailed(f"{self._ended('trained a model')}")
        return Path(self.record.artifacts["training.model"])

    def _ended(self, what: str) -> str:
        failed = next((f"{step.name}: " for step in self.record.steps if step.state == "failed"), "")
        return f"run {self.record.id} ended before it had {what} ({failed}{self.record.reason or self.state})."


@dataclass(frozen=True)
class Model:
    """A model package in memory, asked with rows as the endpoint is."""

    package: "TableModel"
    sample: list[SampleRow]
    """Rows that training kept; see the function of this name."""

    def score(self, rows: Sequence[Mapping[str, Any]]) -> "NDArray[np.float64]":
        """Score rows: the probability of the positive class, of each class, or the predicted number.

        Args:
            rows: One object of features per row; None is a missing value, other keys are ignored.

        Raises:
            InputError: If a row lacks a feature, or a number is none.
        """
        import pyarrow as pa

        names = [*self.package.facts.numeric, *self.package.facts.categorical]
        if absent := sorted({name for row in rows for name in names if name not in row}):
            raise InputError(f"a row lacks {absent}; the model expects {sorted(names)}, None for a missing value.")
        table = pa.table({name: [row[name] for row in rows] for name in names})
        return self.package.score(self.package.inputs(table))


def simulate(project: str | Path = ".") -> dict[str, int]:
    """Write the shipped example's tables where one is missing; a project with other tables brings its own.

    Returns:
        Table to number of rows; empty where nothing was written.
    """
    # The simulator imports NumPy and Arrow, which most commands don't need.
    from pipelines import simulator

    backend = open_backend(project=Path(project))
    paths = [backend.state.root / s.path for s in backend.project.sources.values() if s.path]
    example = {f"{table}.parquet" for table in simulator.TABLES} == {path.name for path in paths}
    if not example or all(path.exists() for path in paths):
        return {}
    backend.state.create_folder()
    return simulator.write(paths[0].parent)


def submit(
    project: str | Path = ".",
    *,
    pipeline: str = catalog.DEFAULT,
    target: str = "laptop",
    overrides: Sequence[str] = (),
    seed: int = 7,
    use_cache: bool = True,
    start: datetime | None = None,
    end: datetime | None = None,
    wait: bool = False,
    console: Console | None = None,
) -> Finished:
    """Run a pipeline of a project to its end, and show the progress of its steps.

    Args:
        project: Its folder, or its project.yaml.
        pipeline: A name in the catalogue of pipelines.
        target: ``laptop``, ``docker``, ``kfp`` or the path of a target file.
        overrides: ``key=value`` for single keys of the target.
        seed: Of splits, search and training.
        use_cache: Take the outputs of steps that did not change from the cache.
        start: Exclusive begin of the window (UTC), for a pipeline that has one; None is no limit.
        end: Inclusive end of the window (UTC).
        wait: Wait for another run of this project on this machine instead of leaving.
        console: Where progress is shown; None is standard output.

    Returns:
        The run, also where it was rejected or failed: see its ``state``.

    Raises:
        InputError: If project, pipeline, target or platform is not valid, or another run is under way.
        StepFailed: If what the run needs cannot be made.
        KeyboardInterrupt: After Ctrl-C or SIGTERM, when every task has ended; a run on a cluster continues.
    """
    request = RunRequest(pipeline, seed, use_cache, start, end, wait_for_lock=wait)
    with open_backend(target, Path(project), overrides).start(request, View(console or terminal.console())) as started:
        return Finished(started.record, started.follow())


def load(folder: Path) -> Model:
    """Load a model package, which holds its own preprocessing.

    Raises:
        StepFailed: If a file of the package is not what its manifest says.
    """
    from components.shared.package.table_model import TableModel

    return Model(TableModel.open(folder), sample(folder))


def score_table(
    table: Path,
    out: Path,
    project: str | Path = ".",
    *,
    version: str | None = None,
    interval: float | None = None,
    target: str = "laptop",
    overrides: Sequence[str] = (),
    progress: Callable[[int, int], None] = lambda done, rows: None,
) -> "ScoredTable":
    """Score every row of a table with a released model, on this machine and without a server.

    Args:
        table: A CSV file, a parquet file or a folder of parquet files, with the columns of the project's table or with
            one column per feature. Other columns are passed through.
        out: A CSV or parquet file, replaced if it exists.
        project: The project's folder, or its project.yaml.
        version: A registered version; None is the champion.
        interval: Add the bounds of a regression, or the set of classes, that hold this share of labels; None adds none.
        target: Whose registry holds the model.
        overrides: ``key=value`` for single keys of the target.
        progress: Is told the rows scored so far, and the number of rows.

    Raises:
        InputError: If there is no such version, the table or ``out`` cannot be used, or the version has no intervals
            of this level.
        StepFailed: If the registry cannot be read.
    """
    from components.shared.package.table_model import TableModel
    from pipelines.scoring import new_rows, scored_table

    scored_table.check_output(out)
    if out.resolve() == table.resolve():
        raise InputError(f"--out is the table {str(table)!r} itself; name another file.")
    backend = open_backend(target, Path(project), overrides)
    with tempfile.TemporaryDirectory(prefix="perennial-scores-") as work:
        scoring_version, package = backend.model_package(version, Path(work))
        model = TableModel.open(package)
        features = {feature.name: feature.type for feature in model.facts.features}
        types = training_types(backend)
        with new_rows.open_table(backend.project, backend.state.root, features, table, types, Path(work)) as rows:
            done = 0

            def advance(more: int) -> None:
                nonlocal done
                done += more
                progress(done, rows.rows)

            return scored_table.write(model, scoring_version, rows, out, advance, interval=interval)


def training_types(backend: Backend) -> Mapping[str, str] | None:
    """Return the type of each column of the label's source in the newest snapshot on this machine."""
    record = runs.latest_with(backend.state.runs, "ingestion.snapshot")
    if record is None:
        return None
    described = SnapshotDescription.read(record.artifacts["ingestion.snapshot"]).tables
    table = described.get(backend.project.label.source)
    return None if table is None else table.columns


def sample(folder: Path) -> list[SampleRow]:
    """Return the rows that training kept in a model package, to show what a request holds."""
    return samples.read(folder)


def ask(
    project: str | Path,
    rows: Sequence[Mapping[str, Any]] | None = None,
    *,
    explains: bool = False,
    interval: float | None = None,
    subject: Subject | None = None,
    target: str = "laptop",
    overrides: Sequence[str] = (),
) -> dict[str, Any]:
    """Ask the endpoint for the predictions of rows; start it for the question where none runs.

    Args:
        project: Its folder, or its project.yaml.
        rows: One object of features per row; None sends the first row that training kept as a sample.
        explains: Ask what each feature contributed to a score, too; at most 16 rows at once.
        interval: Ask for the bounds of a regression, or the set of classes, that hold this share of labels, too.
        subject: Whom the rows are about; the server looks up what they leave out ('serving: online_features').
        target: Whose endpoint.
        overrides: ``key=value`` for single keys of the target.

    Returns:
        ``{"model_name", "model_version", "classes", "positive", "predictions": [{"score", "decision",
        "out_of_vocabulary"}]}``; ``classes`` is absent for a regression, ``positive`` unless the task is binary.
        A prediction that is explained also has ``margin``, ``base``, ``contributions`` and ``contribution_errors``;
        one with an interval ``lower`` and ``upper``, or ``set``; one with a subject ``features`` and ``feature_ages``.

    Raises:
        InputError: If nothing was released or a row is refused; the sentence names the field.
        StepFailed: If no server can be started, or it does not answer.
    """
    backend = open_backend(target, Path(project), overrides)
    return backend.ask(rows, explains=explains, interval=interval, subject=subject)
