"""``perennial predict``: send rows to the endpoint, or say why nothing can answer."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from components.shared import releases
from components.shared.errors import InputError
from pipelines import endpoint, project_file, runs, state
from pipelines.commands import summary
from pipelines.local.place import open_place


def predict(
    project: Path, text: str | None, *, target: str = "laptop", overrides: Sequence[str] = (), sample: bool
) -> int:
    """Ask the endpoint for the predictions of rows; start it for the question where none runs."""
    place, chosen = state.open_project(project, target, overrides)
    read = project_file.read(place.project_file)
    endpoint.recover(place.endpoint, place.registry_uri)
    active = releases.active(place.endpoint)
    if active is None:
        raise InputError(_why_nothing(place))
    rows = [_sample(place)] if sample else _rows(text)
    if endpoint.find(place.endpoint):
        answer = endpoint.ask(place.endpoint, rows)
    else:
        with open_place(chosen, read, place, ["serving"]).serve(place.endpoint, grpc_port=None):
            answer = endpoint.ask(place.endpoint, rows)
    click.echo(json.dumps(answer, ensure_ascii=False, indent=1))
    return runs.OK


def _rows(text: str | None) -> list[dict[str, Any]]:
    if not text:
        raise InputError("No row was given; pass a JSON object as the argument, '-' for standard input, or --sample.")
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(
            f"The row is not JSON ({error.msg} at character {error.pos}); write it like '{{\"feature\": 1}}'."
        ) from None
    rows = value if isinstance(value, list) else [value]
    if not rows or not all(isinstance(row, dict) for row in rows):
        raise InputError(f"The row is {type(value).__name__}; expected a JSON object, or a list of objects.")
    return rows


def _sample(place: state.State) -> dict[str, Any]:
    record = runs.latest_with(place.runs, "training.model")
    if record is None:
        raise InputError("No run has left a sample row; pass a row as JSON.")
    return summary.sample_row(Path(record["artifacts"]["training.model"]))


def _why_nothing(place: state.State) -> str:
    """Say what became of the last run, where there was one."""
    record = runs.latest(place.runs)
    if record is None:
        return "Nothing has been released, so nothing can answer; run 'perennial run' first."
    verdict = record["artifacts"].get("gate.verdict")
    if record["exit_code"] == runs.REJECTED and verdict:
        broken = [rule["reason"] for rule in json.loads(Path(verdict).read_text())["rules"] if not rule["passed"]]
        return f"Nothing has been released: the gate rejected the candidate of run {record['id']}: {'; '.join(broken)}."
    return (
        f"Nothing has been released: the last run {record['id']} ended as {record['state']!r}"
        f"{': ' + record['reason'] if record['reason'] else ''}; mend that and run 'perennial run'."
    )
