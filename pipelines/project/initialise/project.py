"""Create a project for a table; the project runs without edits."""

import os
import re
import tempfile
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import yaml

from components.ingestion import logic
from components.shared import sources
from components.shared.errors import InputError
from components.shared.project import Project, Split
from pipelines.project.initialise import guess, order, profile, reading, refusals, writing
from pipelines.project.initialise.guess import ColumnGuess, Guess
from pipelines.project.initialise.profile import ColumnProfile
from pipelines.project.initialise.reading import Reading

CONSTANT_TIME = datetime(2020, 1, 1, tzinfo=UTC)
"""Event time of every row of a table without a time."""
# Of few rows more are needed to measure a model.
_STEP_S = 60
_SMALL_ROWS = 1000
_SMALL_TEST = 0.3
# Column names that Feast's joins or our own joins use.
_RESERVED = {"event_timestamp", "created_timestamp", "entity_row_id", "perennial_row", "row", "entity"}


@dataclass(frozen=True)
class _Roles:
    """The source of the table and the columns that have a role; ingestion adds an entity or a time that it lacks."""

    source: str
    label: str
    entity: str
    event_time: str
    adds_entity: bool
    adds_time: bool
    time_step_s: int | None


def write(
    table: Path,
    label: str,
    entity: str | None = None,
    time: str | None = None,
    out: Path = Path(),
    categorical: Collection[str] = (),
    in_time_order: bool = False,
) -> Guess:
    """Write ``project.yaml`` and ``feature_repo/`` for a table.

    Args:
        table: A CSV or parquet file.
        label: The column to predict.
        entity: The column that identifies the entity of a row; None numbers the rows.
        time: The column with the time of a row; None gives all rows the same time.
        out: The project's folder; created if absent.
        categorical: Columns whose numbers are codes: a category each, without an order.
        in_time_order: Whether the rows of a table without a time are in the order of time.

    Raises:
        InputError: If the table cannot be read, a column is unknown or unusable, or ``out`` already has a project.
    """
    _check_unused(out)
    if time and in_time_order:
        raise InputError("--time names the time of each row, so --in-time-order says nothing more; leave one out.")
    encoding = profile.encoding(table)
    existing = profile.names(table, encoding)
    label = profile.named(table, label, "--label", existing)
    entity = profile.named(table, entity, "--entity", existing) if entity is not None else None
    time = profile.named(table, time, "--time", existing) if time is not None else None
    categorical = [profile.named(table, column, "--categorical", existing) for column in categorical]
    named_columns = [column for column in (label, entity, time) if column]
    if len(set(named_columns)) < len(named_columns):
        raise InputError("--label, --entity and --time must name different columns; change one of them.")
    source = _name(sources.stem(table))
    used_names = {name.lower() for name in existing}
    constant_name = _unused("event_time", used_names)
    roles = _Roles(
        source=source,
        label=label,
        entity=entity or _unused("row_number", used_names),
        event_time=constant_name,
        adds_entity=entity is None,
        adds_time=True,
        time_step_s=_STEP_S if in_time_order else None,
    )
    with tempfile.TemporaryDirectory(prefix="perennial-init-") as folder:
        # The time is read once it is known how it is written.
        draft = _draft(table, encoding, roles, Reading())
        described = logic.ingest(draft, "/", Path(folder) / "snapshot").tables[source]
        snapshot = Path(folder) / "snapshot" / f"{source}.parquet"
        declared = reading.survey(snapshot, described, label=label, entity=entity, time=time)
        if time or not declared.is_plain:
            roles = replace(roles, event_time=time or constant_name, adds_time=time is None)
            draft = _draft(table, encoding, roles, declared)
            described = logic.ingest(draft, "/", Path(folder) / "snapshot").tables[source]
        columns = profile.profile(snapshot, described, label)
        project_guess = _guess(draft, columns, entity, time, categorical, declared)
        refusals.check(draft, snapshot, columns)
        project_guess = refusals.with_shares(draft, snapshot, project_guess)
        if project_guess.split != "time" and (remark := _order(snapshot, project_guess)):
            project_guess = replace(project_guess, notes=(*project_guess.notes, remark))
    project_guess = replace(project_guess, columns=project_guess.columns + _not_copied(table, columns))
    contents = writing.render(draft, source, _path(table, out), project_guess, columns)
    Project.model_validate(yaml.safe_load(contents["project.yaml"]))
    for name, content in contents.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text(content, encoding="utf-8")
    return replace(project_guess, files=tuple(out / name for name in contents))


def _guess(
    draft: Project,
    columns: list[ColumnProfile],
    entity: str | None,
    time: str | None,
    categorical: Collection[str],
    declared: Reading,
) -> Guess:
    """Guess the role of each column, the task, and the method of the split."""
    by_name = {column.name: column for column in columns}
    label = by_name[draft.label.column]
    rows = label.rows
    target = guess.target(label)
    used_names = {name.lower() for name in by_name}
    in_order = draft.sources[draft.label.source].time_step_s is not None
    guesses = []
    for column in columns:
        if column.name == label.name:
            guesses.append(ColumnGuess(column, "label", f"{target.task}: {target.reason}"))
        elif column.name == draft.entity:
            guesses.append(_entity(column, entity is not None))
        elif column.name == draft.event_time:
            reason = "set with --time" if time else f"no --time: {CONSTANT_TIME:%Y-%m-%d} in every row"
            reason = f"--in-time-order: {_STEP_S} seconds from row to row" if in_order else reason
            guesses.append(ColumnGuess(column, "time", reason))
        else:
            name = _feature_name(column.name, used_names)
            is_code = column.name in categorical
            guesses.append(guess.feature(column, name, draft.event_time, target, label.name, is_code=is_code))
    guesses = [_with_reading(each, declared) for each in guesses]
    if not any(column_guess.role == "feature" for column_guess in guesses):
        raise InputError(
            f"source '{draft.label.source}' has no usable feature; expected at least one column besides the label, "
            "the entity and the time. Add columns to the table."
        )
    if entity and not time and by_name[entity].distinct < by_name[entity].present:
        raise InputError(
            f"'{entity}' has {by_name[entity].distinct:,} different values in {rows:,} rows; expected one row per "
            "entity, because the table has no time. Set --time, or omit --entity."
        )
    has_times = in_order or (time is not None and by_name[time].distinct >= 10)
    split = "time" if has_times else "hash" if entity else "random"
    return Guess(
        name=draft.name,
        target=target,
        entity=draft.entity,
        event_time=draft.event_time,
        rows=rows,
        split=split,
        validation=Split().validation,
        test=_SMALL_TEST if rows < _SMALL_ROWS else Split().test,
        columns=tuple(guesses),
        notes=(*_notes(draft, label, entity, time, split), *declared.notes),
        files=(),
    )


def _order(snapshot: Path, project_guess: Guess) -> str | None:
    """Say whether the rows seem to be in the order of time."""
    label = next(each.column for each in project_guess.columns if each.role == "label")
    positive = project_guess.target.positive
    if project_guess.target.task == "regression":
        return order.remark(snapshot, label.name, None)
    return order.remark(snapshot, label.name, label.values[0] if positive is None else guess.text_of(positive))


def _with_reading(column_guess: ColumnGuess, declared: Reading) -> ColumnGuess:
    """Add how a column's values are read to the reason of its guess."""
    name = column_guess.column.name
    if name not in declared.reasons:
        return column_guess
    return replace(column_guess, reason=f"{column_guess.reason}; {declared.reasons[name]}")


def _not_copied(table: Path, columns: list[ColumnProfile]) -> tuple[ColumnGuess, ...]:
    """Return a guess for each column that ingestion leaves out."""
    copied = {column.name for column in columns}
    return tuple(
        ColumnGuess(
            ColumnProfile(name, type_, columns[0].rows, 0, 0, ()), "left out", f"holds {type_}; expected single values"
        )
        for name, type_ in profile.types(table).items()
        if name not in copied
    )


def _notes(draft: Project, label: ColumnProfile, entity: str | None, time: str | None, split: str) -> list[str]:
    """Return the assumptions about the table, as sentences."""
    notes = []
    [declared] = draft.sources.values()
    in_order = declared.time_step_s is not None
    if not entity:
        notes.append(f"No --entity: each row is a separate entity, numbered from 1 in '{draft.entity}'.")
    if not time and in_order:
        notes.append(
            f"--in-time-order: the first row has the event time {CONSTANT_TIME:%Y-%m-%d}, and each later one is "
            f"{_STEP_S} seconds after the one before, in '{draft.event_time}'."
        )
    elif not time:
        notes.append(
            f"No --time: all rows have the same event time, {CONSTANT_TIME:%Y-%m-%d}, in '{draft.event_time}'."
        )
    by = {"time": "by time", "hash": f"by a hash of '{draft.entity}'", "random": "at random"}[split]
    notes.append(f"The rows are split {by} into training, validation and test rows.")
    if declared.encoding:
        notes.append(
            f"The file is not UTF-8 and is read as {declared.encoding}; correct 'encoding' if letters are wrong."
        )
    if label.missing:
        notes.append(f"{label.missing:,} rows without a label are left out (label.missing: drop).")
    return notes


def _entity(column: ColumnProfile, named: bool) -> ColumnGuess:
    if column.type not in ("VARCHAR", "BIGINT"):
        raise InputError(
            f"the entity '{column.name}' has the type {column.type}; expected texts or integers. Choose another "
            "--entity."
        )
    if column.missing:
        raise InputError(
            f"the entity '{column.name}' is missing in {column.missing:,} of {column.rows:,} rows; expected a value in "
            "each. Fill in the values or choose another --entity."
        )
    return ColumnGuess(column, "entity", "set with --entity" if named else "no --entity: the row number")


def _draft(table: Path, encoding: str | None, roles: _Roles, declared: Reading) -> Project:
    """Return a provisional project, for the ingestion of the table."""
    return Project.model_validate(
        {
            "name": roles.source.replace("_", "-")[:40].rstrip("-"),
            "task": "multiclass",
            "entity": roles.entity,
            "event_time": roles.event_time,
            "sources": {
                roles.source: {
                    "path": str(table.resolve()),
                    "encoding": encoding,
                    "time": roles.event_time,
                    "constant_time": CONSTANT_TIME if roles.adds_time else None,
                    "time_step_s": roles.time_step_s if roles.adds_time else None,
                    "row_number": roles.entity if roles.adds_entity else None,
                    "null_values": declared.null_values,
                    "convert": declared.convert,
                }
            },
            "label": {"source": roles.source, "column": roles.label},
            "features": {"service": f"{roles.source}_v1", "columns": {"unknown": {"type": "categorical"}}},
        }
    )


def _check_unused(out: Path) -> None:
    for name in ("project.yaml", "feature_repo"):
        if (out / name).exists():
            raise InputError(
                f"{out / name} already exists; expected a folder without a project. Choose another folder with --out."
            )


def _name(stem: str) -> str:
    """Convert the stem of a file name to a name.

    >>> _name("Telco (Customers)"), _name("2024 Zürich")
    ('telco_customers', 'table_2024_z_rich')
    """
    name = re.sub(r"[^a-z0-9]+", "_", stem.lower()).strip("_")[:50].rstrip("_") or "table"
    return name if name[0].isalpha() else f"table_{name}"


def _unused(name: str, used_names: set[str]) -> str:
    while name in used_names:
        name += "_"
    return name


def _feature_name(column: str, used_names: set[str]) -> str:
    """Return the name of a column's feature: the column's name, if Feast and the file system allow it."""
    name = re.sub(r"[:/\\]", "_", column)
    if name.lower() in _RESERVED:
        name = f"{name}_value"
    return name if name == column else _unused(name, used_names)


def _path(table: Path, out: Path) -> str:
    """Return the table's path: relative if it is below the parent of the project's folder, otherwise absolute."""
    project_folder, file = out.resolve(), table.resolve()
    return (
        os.path.relpath(file, project_folder)
        if file.is_relative_to(project_folder.parent) and project_folder.parent != Path("/")
        else str(file)
    )
