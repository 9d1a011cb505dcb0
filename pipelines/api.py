"""Perennial from Python: what the verbs do, without a terminal; the notebook calls the same functions.

>>> from pipelines import api
>>> run = api.submit("churn", seed=7)                       # doctest: +SKIP
>>> run.metrics["auc"].value, api.load(run.model)           # doctest: +SKIP
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from components.shared import inference
from components.shared.documents.evaluation import EvaluationReport
from components.shared.documents.measurements import Metric
from components.shared.documents.package_sample import PackageSample, SampleRow
from components.shared.documents.verdict import Verdict
from components.shared.errors import InputError, StepFailed
from components.shared.release import local as local_release
from components.shared.release import routing
from pipelines import runs, simulator
from pipelines.command import terminal
from pipelines.command.view import View
from pipelines.project import project_file
from pipelines.runs import report
from pipelines.runs.report import documents
from pipelines.targets import reading, state
from pipelines.targets.local import endpoint, training
from pipelines.targets.local.place import Place, open_place
from pipelines.targets.model import Kfp
from pipelines.targets.state import State

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from components.shared.package.table_model import TableModel


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
        return str(self.documents.release["version"]) if self.documents.release else None

    @property
    def rules(self) -> dict[str, bool]:
        """What each rule of the gate said, and whether it was passed; none where the run ended before."""
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
            rows: One object of features per row; None stands for a missing value, other keys are ignored.

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
    place = state.open_state(Path(project))
    paths = [place.root / s.path for s in project_file.read(place.project_file).sources.values() if s.path]
    example = {f"{table}.parquet" for table in simulator.TABLES} == {path.name for path in paths}
    return simulator.write(paths[0].parent) if example and not all(path.exists() for path in paths) else {}


def submit(
    project: str | Path = ".",
    *,
    target: str = "laptop",
    overrides: Sequence[str] = (),
    seed: int = 7,
    use_cache: bool = True,
    wait: bool = False,
    console: Console | None = None,
) -> Finished:
    """Run the training pipeline of a project to its end, and show how its steps fare.

    Args:
        project: Its folder, or its project.yaml.
        target: ``laptop``, ``docker``, ``kfp`` or a target's file.
        overrides: ``key=value`` for single keys of the target.
        seed: Of splits, search and training.
        use_cache: Take the outputs of steps that did not change from the cache.
        wait: Wait for another run of this project on this machine instead of leaving.
        console: Where progress is shown; None is standard output.

    Returns:
        The run, also where it was rejected or failed: see its ``state``.

    Raises:
        InputError: If project, target or platform won't do, or another run is under way.
        StepFailed: If what the run needs can't be made.
        KeyboardInterrupt: After Ctrl-C or SIGTERM, when every task has ended; a run on a cluster goes on.
    """
    console = console or terminal.console()
    where = state.root_of(Path(project))
    if isinstance(chosen := reading.read(target, where, overrides), Kfp):
        from pipelines.targets.kfp import training as remote

        record = remote.train(State(where, chosen.services), chosen, seed=seed, use_cache=use_cache, console=console)
        return Finished(record, remote.page(record))
    with submitted(
        project, target=target, overrides=overrides, seed=seed, use_cache=use_cache, wait=wait, console=console
    ) as run:
        return run


@contextmanager
def submitted(
    project: str | Path,
    *,
    target: str,
    overrides: Sequence[str],
    seed: int,
    use_cache: bool,
    wait: bool,
    console: Console,
) -> Iterator[Finished]:
    """Do what ``submit`` does on this machine, and keep lock and endpoint until the context is left."""
    place, chosen = state.open_project(Path(project), target, overrides)
    prepared = training.prepare(place, chosen, lambda sentence: console.print(sentence, highlight=False))
    with state.exclusive(place, "run", wait=wait):
        place.create()
        local_release.recover(place.endpoint, place.registry_uri)
        runs.settle(place.runs)
        record = training.new_run(prepared, datetime.now(UTC))
        with _server(place.endpoint, prepared.place):
            try:
                with prepared.place.tasks(record.id) as tasks, View(record, console) as view:
                    training.train(prepared, record, view.changed, tasks, seed=seed, use_cache=use_cache)
            finally:
                local_release.recover(place.endpoint, place.registry_uri)
                page = report.render(record.as_dict(), record.folder)
            yield Finished(record, page)


def load(folder: Path) -> Model:
    """Load a model package, which holds its own preprocessing; needs onnxruntime.

    Raises:
        StepFailed: If a file of the package is not what its manifest says.
    """
    from components.shared.package.table_model import TableModel

    return Model(TableModel.open(folder), sample(folder))


def sample(folder: Path) -> list[SampleRow]:
    """Return the rows that training kept in a model package, to show what a request holds."""
    return list(PackageSample.read(folder).rows)


def ask(
    project: str | Path,
    rows: Sequence[Mapping[str, Any]] | None = None,
    *,
    target: str = "laptop",
    overrides: Sequence[str] = (),
) -> dict[str, Any]:
    """Ask the endpoint for the predictions of rows; start it for the question where none runs.

    Args:
        project: Its folder, or its project.yaml.
        rows: One object of features per row; None sends the first row that training kept as a sample.
        target: Whose endpoint.
        overrides: ``key=value`` for single keys of the target.

    Returns:
        ``{"model_name", "model_version", "predictions": [{"score", "decision", "out_of_vocabulary"}]}``.

    Raises:
        InputError: If nothing was released or a row is refused; the sentence names the field.
        StepFailed: If no server can be started, or it does not answer.
    """
    where = state.root_of(Path(project))
    if isinstance(cluster := reading.read(target, where, overrides), Kfp):
        return _ask_gateway(State(where, cluster.services), cluster, rows)
    place, chosen = state.open_project(Path(project), target, overrides)
    read = project_file.read(place.project_file)
    local_release.recover(place.endpoint, place.registry_uri)
    if routing.answering(place.endpoint) is None:
        raise InputError(_why_nothing(place))
    rows = _last_sample(place)[:1] if rows is None else rows
    if endpoint.find(place.endpoint):
        return endpoint.ask(place.endpoint, rows)
    with open_place(chosen, read, place, ["serving"]).serve(place.endpoint, grpc_port=None):
        return endpoint.ask(place.endpoint, rows)


@contextmanager
def _server(folder: Path, where: Place) -> Iterator[None]:
    """Have an endpoint while a run may need one: the one that is there, or one started beside the first steps."""
    if endpoint.find(folder):
        yield
        return
    with ThreadPoolExecutor(1) as starter:
        starting = starter.submit(where.serve, folder)
        try:
            yield
        finally:
            starting.result().stop()


def _ask_gateway(place: State, target: Kfp, rows: Sequence[Mapping[str, Any]] | None) -> dict[str, Any]:
    """Ask KServe's gateway for the project's model, as anybody outside of the cluster does."""
    from components.shared.release.kserve.address import Address

    address = Address.parse(target.services.endpoint)
    url = target.gateway_url or address.ingress
    if url is None or address.domain is None:
        raise InputError(
            "the target does not say where its models answer; give gateway_url, as this machine reaches it, "
            "and services.endpoint a 'domain', as in kserve://models?domain=example.com."
        )
    name = project_file.read(place.project_file).name
    asked = _last_sample(place)[:1] if rows is None else rows
    host = f"{name}-{address.namespace}.{address.domain}"
    try:
        return inference.predict(url, name, asked, host=host)
    except StepFailed as failed:
        raise StepFailed(
            f"the models' gateway {url} does not answer for {host} ({str(failed).rstrip('.')}); "
            "give gateway_url in the target file where this machine reaches it at another address."
        ) from failed


def _last_sample(place: State) -> list[SampleRow]:
    record = runs.latest_with(place.runs, "training.model")
    if record is None:
        raise InputError("No run has left a sample row; pass a row as JSON.")
    return sample(Path(record["artifacts"]["training.model"]))


def _why_nothing(place: State) -> str:
    """Say what became of the last run, where there was one."""
    record = runs.latest(place.runs)
    if record is None:
        return "Nothing has been released, so nothing can answer; run 'perennial run' first."
    verdict = record["artifacts"].get("gate.verdict")
    if record["exit_code"] == runs.REJECTED and verdict:
        broken = [ruling.reason for ruling in Verdict.read(verdict).failed]
        return f"Nothing has been released: the gate rejected the candidate of run {record['id']}: {'; '.join(broken)}."
    return (
        f"Nothing has been released: the last run {record['id']} ended as {record['state']!r}"
        f"{': ' + record['reason'] if record['reason'] else ''}; mend that and run 'perennial run'."
    )
