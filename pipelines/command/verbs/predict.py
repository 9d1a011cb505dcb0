"""``perennial predict``: send rows to the endpoint, or say why nothing can answer."""

import json
from typing import Any

import click

from components.shared.errors import InputError
from pipelines import runs
from pipelines.command.options import TargetOptions


def predict(options: TargetOptions, text: str | None, *, sample: bool) -> int:
    """Ask the endpoint for the predictions of rows; start it for the question where none runs."""
    answer = options.open().ask(None if sample else _rows(text))
    click.echo(json.dumps(answer, ensure_ascii=False, indent=1))
    return runs.OK


def _rows(text: str | None) -> list[dict[str, Any]]:
    if not text:
        raise InputError("no row was given; pass a JSON object as the argument, '-' for standard input, or --sample.")
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(
            f"the row is not JSON ({error.msg} at character {error.pos}); write it like '{{\"feature\": 1}}'."
        ) from None
    rows = value if isinstance(value, list) else [value]
    if not rows or not all(isinstance(row, dict) for row in rows):
        raise InputError(f"the row is {type(value).__name__}; expected a JSON object, or a list of objects.")
    return rows
