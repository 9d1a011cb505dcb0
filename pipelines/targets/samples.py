"""Rows that training kept as a sample, and why there is nothing that could answer them."""

from pathlib import Path

from components.shared.documents.package_sample import PackageSample, SampleRow
from components.shared.documents.verdict import Verdict
from components.shared.errors import InputError
from pipelines import runs
from pipelines.targets import history
from pipelines.targets.state import State


def read(folder: Path) -> list[SampleRow]:
    """Return the rows that training kept in a model package, to show what a request holds."""
    return list(PackageSample.read(folder).rows)


def last(state: State) -> list[SampleRow]:
    """Return the sample of the newest run that trained a model.

    Raises:
        InputError: If there is none.
    """
    record = runs.latest_with(state.runs, "training.model")
    if record is None:
        raise InputError("no run has left a sample row; pass a row as JSON.")
    return read(Path(record.artifacts["training.model"]))


def why_nothing_answers(state: State) -> str:
    """Say how the last run that could have released a model ended, where there was one."""
    record = next((run for run in history.records(state) if "deployment" in {s.name for s in run.steps}), None)
    if record is None:
        return "nothing has been released, so nothing can answer; run 'perennial run' first."
    if record.exit_code is None:
        return f"nothing has been released: run {record.id} is still running; ask when it has ended."
    verdict = record.artifacts.get("gate.verdict")
    if record.exit_code == runs.REJECTED and verdict:
        broken = [ruling.reason for ruling in Verdict.read(verdict).failed]
        return f"nothing has been released: the gate rejected the candidate of run {record.id}: {'; '.join(broken)}."
    reason = f": {record.reason.rstrip('.')}" if record.reason else ""
    return (
        f"nothing has been released: the last run {record.id} ended as {record.state!r}{reason}; fix that and run "
        "'perennial run'."
    )
