"""What the steps of a run would refuse in a table: known now, and said now."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import duckdb

from components.shared.errors import InputError
from components.shared.project import Project
from components.shared.sql import identifier, literal
from components.split import logic, methods
from pipelines.project.initialise.guess import Guess
from pipelines.project.initialise.profile import ColumnProfile

SEED = 7
# Validation and test shares to try, in this order, where the parts would be too small with the first.
_LARGER = ((0.2, 0.3), (0.25, 0.3), (0.3, 0.3), (0.33, 0.33))


def check(draft: Project, snapshot: Path, columns: list[ColumnProfile]) -> None:
    """Check the values that no run would accept.

    Args:
        draft: The provisional project.
        snapshot: The ingested table.
        columns: Its columns.

    Raises:
        InputError: If a number is infinite, or an entity has two labels at one time.
    """
    table = f"read_parquet({literal(str(snapshot))})"
    with duckdb.connect() as engine:
        for column in columns:
            if column.type == "DOUBLE":
                _check_finite(engine, table, column)
        _check_conflicts(engine, table, draft)


def with_shares(draft: Project, snapshot: Path, guess: Guess) -> Guess:
    """Return the guess with shares of the split that a run accepts: larger ones where a part is too small.

    Args:
        draft: The provisional project.
        snapshot: The ingested table.
        guess: The guessed project, with the method and the usual shares of the split.

    Raises:
        InputError: If no shares give every part the rows and classes that a run needs.
    """
    keys = ", ".join(map(identifier, (draft.entity, draft.event_time, draft.label.column)))
    label = identifier(draft.label.column)
    with duckdb.connect() as engine:
        engine.execute("SET TimeZone = 'UTC'")
        engine.execute(
            f"CREATE TABLE keys AS SELECT row_number() OVER () AS row, * FROM (SELECT {keys} FROM "
            f"read_parquet({literal(str(snapshot))}) WHERE {label} IS NOT NULL) AS named(entity, event_time, label)"
        )
        for candidate in ((guess.validation, guess.test), *_LARGER):
            methods.assign(engine, guess.split, *candidate, timedelta(0), SEED, guess.target.task)
            parts = methods.counts(engine)
            if _suffice(parts, guess):
                return replace(guess, validation=candidate[0], test=candidate[1])
    sizes = ", ".join(f"{parts[part].rows:,} {part}" for part in logic.PARTS)
    classes = "" if guess.target.task == "regression" else " and two classes"
    raise InputError(
        f"{guess.rows:,} rows are too few for a project: even shares of {candidate[0]} and {candidate[1]} leave "
        f"{sizes} rows; expected at least {logic.MIN_ROWS} rows{classes} in each part. Add rows."
    )


def _suffice(parts: dict[str, methods.PartCounts], guess: Guess) -> bool:
    classes = 1 if guess.target.task == "regression" else 2
    counts = [parts[part] for part in logic.PARTS]
    return all(part.rows >= logic.MIN_ROWS and part.classes >= classes for part in counts)


def _check_finite(engine: duckdb.DuckDBPyConnection, table: str, column: ColumnProfile) -> None:
    raw = identifier(column.name)
    infinite = engine.execute(f"SELECT count(*) FROM {table} WHERE isinf({raw})").fetchall()[0][0]
    if infinite:
        raise InputError(
            f"the column '{column.name}' is infinite in {infinite:,} of {column.rows:,} rows; expected finite numbers, "
            "because a run refuses others. Replace these values, or leave them blank."
        )


def _check_conflicts(engine: duckdb.DuckDBPyConnection, table: str, draft: Project) -> None:
    entity, time, label = map(identifier, (draft.entity, draft.event_time, draft.label.column))
    conflicts = engine.execute(
        f"SELECT {entity}, {time}, min({label}), max({label}) FROM {table} GROUP BY ALL "
        f"HAVING count(DISTINCT {label}) > 1 ORDER BY 2, 1"
    ).fetchall()
    if conflicts:
        who, when, low, high = conflicts[0]
        raise InputError(
            f"{len(conflicts):,} pairs of '{draft.entity}' and '{draft.event_time}' have two labels, first {who!r} at "
            f"{when} with {low!r} and {high!r}; expected one label for each. Remove the wrong rows, or choose columns "
            "with --entity and --time that tell the rows apart."
        )
