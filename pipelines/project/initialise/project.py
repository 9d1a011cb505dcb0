"""From a table to a project that runs without edits."""

import os
import re
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import yaml

from components.shared.errors import InputError
from components.shared.project import Project
from pipelines.project.initialise import guess, profile, writing
from pipelines.project.initialise.guess import ColumnGuess, Guess
from pipelines.project.initialise.profile import ColumnProfile

CONSTANT_TIME = datetime(2020, 1, 1, tzinfo=UTC)
"""The event time of every row of a table that has none."""
# Columns of Feast's joins or of ours.
_RESERVED = {"event_timestamp", "created_timestamp", "entity_row_id", "perennial_row", "row", "entity"}


def write(table: Path, label: str, entity: str | None = None, time: str | None = None, out: Path = Path()) -> Guess:
    """Write ``project.yaml`` and ``feature_repo/`` for a table; the project then runs as it is.

    Args:
        table: A CSV or parquet file.
        label: The column to predict.
        entity: The column that names who a row is about; None takes the row's number.
        time: The column with the time of a row; None gives all rows one time.
        out: The project's folder; created if absent.

    Raises:
        InputError: If the table cannot be read, a column is unknown or unusable, or ``out`` holds a project already.
    """
    _refuse_existing(out)
    for column, flag in ((label, "--label"), (entity, "--entity"), (time, "--time")):
        if column is not None:
            profile.check_column(table, column, flag)
    roles = [each for each in (label, entity, time) if each]
    if len(set(roles)) < len(roles):
        raise InputError("--label, --entity and --time name one column twice; expected different columns. Name others.")
    source = _name(table.stem)
    taken = {each.lower() for each in profile.names(table)}
    draft = _draft(
        table, source, label, entity or _free("row_number", taken), time or _free("event_time", taken), entity, time
    )
    with tempfile.TemporaryDirectory(prefix="perennial-init-") as folder:
        columns = profile.take(draft, source, Path(folder))
    found = _guess(draft, source, columns, entity, time)
    contents = writing.render(draft, source, _path(table, out), found, columns)
    Project.model_validate(yaml.safe_load(contents["project.yaml"]))
    for name, content in contents.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text(content, encoding="utf-8")
    return Guess(**{**found.__dict__, "files": tuple(out / name for name in contents)})


def _guess(draft: Project, source: str, columns: list[ColumnProfile], entity: str | None, time: str | None) -> Guess:
    """Decide on every column and on what holds for the table as a whole."""
    by_name = {each.name: each for each in columns}
    label = by_name[draft.label.column]
    rows = label.rows
    target = guess.target(label)
    taken = {each.lower() for each in by_name}
    guesses = []
    for column in columns:
        if column.name == label.name:
            guesses.append(ColumnGuess(column, "label", f"{target.task}: {target.reason}"))
        elif column.name == draft.entity:
            guesses.append(_entity(column, entity is not None))
        elif column.name == draft.event_time:
            reason = "named with --time" if time else f"no --time: every row has the time {CONSTANT_TIME:%Y-%m-%d}"
            guesses.append(ColumnGuess(column, "time", reason))
        else:
            guesses.append(guess.feature(column, _feature_name(column.name, taken), draft.event_time, target))
    if not any(each.role == "feature" for each in guesses):
        raise InputError(
            f"source '{source}' has no column that a model can learn from; expected one beside label, entity and time. "
            "Add columns to the table."
        )
    if entity and not time and by_name[entity].distinct < by_name[entity].present:
        raise InputError(
            f"'{entity}' names {by_name[entity].distinct:,} entities in {rows:,} rows, and without a time "
            "their rows cannot be told apart; expected one row for each. Name the time with --time or drop --entity."
        )
    split = "time" if time and by_name[time].distinct >= 10 else "hash" if entity else "random"
    return Guess(
        name=source[:40].replace("_", "-").rstrip("-"),
        target=target,
        entity=draft.entity,
        event_time=draft.event_time,
        rows=rows,
        split=split,
        columns=tuple(guesses),
        notes=tuple(_notes(draft, label, entity, time, split)),
        files=(),
    )


def _notes(draft: Project, label: ColumnProfile, entity: str | None, time: str | None, split: str) -> list[str]:
    """Say what was assumed."""
    notes = []
    if not entity:
        notes.append(f"No --entity: each row is an entity of its own, numbered from 1 in '{draft.entity}'.")
    if not time:
        notes.append(
            f"No --time: all rows happen at one constant event time, {CONSTANT_TIME:%Y-%m-%d} in '{draft.event_time}'."
        )
    by = {"time": "by time", "hash": f"by a hash of '{draft.entity}'", "random": "at random"}[split]
    notes.append(f"Rows are split {by} into train, validation and test.")
    if label.missing:
        notes.append(f"{label.missing:,} rows without a label are left out (label.missing: drop).")
    return notes


def _entity(column: ColumnProfile, named: bool) -> ColumnGuess:
    if column.type not in ("VARCHAR", "BIGINT"):
        raise InputError(
            f"the entity '{column.name}' holds {column.type}; expected texts or whole numbers. Name another one."
        )
    if column.missing:
        raise InputError(
            f"the entity '{column.name}' is missing in {column.missing:,} of {column.rows:,} rows; expected one in "
            "each. Fill it in or name another with --entity."
        )
    return ColumnGuess(column, "entity", "named with --entity" if named else "no --entity: the number of the row")


def _draft(
    table: Path, source: str, label: str, entity: str, event_time: str, given_entity: str | None, given_time: str | None
) -> Project:
    """Make a project that is good enough to ingest the table."""
    return Project.model_validate(
        {
            "name": source.replace("_", "-")[:40].rstrip("-"),
            "task": "multiclass",
            "entity": entity,
            "event_time": event_time,
            "sources": {
                source: {
                    "path": str(table.resolve()),
                    "time": event_time,
                    "constant_time": None if given_time else CONSTANT_TIME,
                    "row_number": None if given_entity else entity,
                }
            },
            "label": {"source": source, "column": label},
            "features": {"service": f"{source}_v1", "columns": {"unknown": {"type": "categorical"}}},
        }
    )


def _refuse_existing(out: Path) -> None:
    for name in ("project.yaml", "feature_repo"):
        if (out / name).exists():
            raise InputError(
                f"{out / name} exists already; expected a folder without a project. Name another with --out."
            )


def _name(stem: str) -> str:
    """Make a name of a file's.

    >>> _name("Telco (Customers)"), _name("2024 Zürich")
    ('telco_customers', 'table_2024_z_rich')
    """
    name = re.sub(r"[^a-z0-9]+", "_", stem.lower()).strip("_")[:50].rstrip("_") or "table"
    return name if name[0].isalpha() else f"table_{name}"


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    return name


def _feature_name(column: str, taken: set[str]) -> str:
    """Call a feature like its column, where Feast and the file system allow it."""
    name = re.sub(r"[:/\\]", "_", column)
    if name.lower() in _RESERVED:
        name = f"{name}_value"
    return name if name == column else _free(name, taken)


def _path(table: Path, out: Path) -> str:
    """Write the table's path relative to the project where they lie together, else in full."""
    here, there = out.resolve(), table.resolve()
    return (
        os.path.relpath(there, here) if there.is_relative_to(here.parent) and here.parent != Path("/") else str(there)
    )
