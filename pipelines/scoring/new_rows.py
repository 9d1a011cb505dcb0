"""Turn a user's table into the rows of features that a model takes, through the project's own SQL.

A project with one source and one feature view gets new rows of that source: their values are converted to the types of
the training rows and then go through ``feature_repo/sql/<view>.sql``, which knows the spellings of the table. Any other
project gets a table with one column per feature.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb

from components.ingestion import columns, conversion, plain, text_copy, text_file
from components.shared import sources
from components.shared.errors import InputError
from components.shared.project import Project, Source
from components.shared.sql import identifier

_SQL_TYPES = {"numeric": "DOUBLE", "boolean": "BOOLEAN", "categorical": "VARCHAR"}
_TRUE, _FALSE = "'true', 't', 'yes', 'y', '1', '1.0'", "'false', 'f', 'no', 'n', '0', '0.0'"


@dataclass(frozen=True)
class NewRows:
    """Rows to score: the user's columns as they are, and the features beside them, row by row."""

    engine: duckdb.DuckDBPyConnection
    query: str
    """Selects ``r0 .. rn``, the user's columns, and ``f0 .. fm``, the features."""
    columns: tuple[str, ...]
    features: tuple[str, ...]
    rows: int
    ignored: tuple[str, ...]
    """Columns that no feature is computed from."""
    unreadable: Mapping[str, int]
    """Column to the number of its values that could not be converted and count as missing."""


@contextmanager
def open_table(
    project: Project,
    root: Path,
    features: Mapping[str, str],
    table: Path,
    types: Mapping[str, str] | None,
    work: Path,
) -> Iterator[NewRows]:
    """Read a table and compute its features; nothing is held in memory.

    Args:
        project: The project.
        root: Its folder.
        features: Feature of the model to its type (numeric, boolean, categorical).
        table: A CSV file, a parquet file or a folder of parquet files.
        types: Type of each column of the training rows (BOOLEAN, BIGINT, DOUBLE, VARCHAR, TIMESTAMP), where known.
        work: An empty folder for links and for what does not fit into memory.

    Raises:
        InputError: If the table cannot be read, lacks columns that features need, or the SQL fails on it.
    """
    with duckdb.connect(config={"temp_directory": str(work / "spill"), "memory_limit": "2GB"}) as engine:
        engine.execute("SET TimeZone = 'UTC'")
        try:
            relation, raw = _relation(engine, project, table, work)
            view = _only_view(project, root)
            if view is None:
                computed = _direct(engine, features, table, relation, raw)
            else:
                computed = _through_view(engine, project, view, features, table, relation, raw, types)
            yield _beside(engine, relation, raw, computed, tuple(features), table)
        except duckdb.Error as problem:
            if "CSV Error" in str(problem):
                raise InputError(text_file.csv_error(table.stem, problem)) from None
            reason = " ".join(line.strip() for line in str(problem).splitlines()[:2])
            raise InputError(f"{table.name} cannot be scored: {reason}. Correct the table.") from problem


def _relation(
    engine: duckdb.DuckDBPyConnection, project: Project, table: Path, work: Path
) -> tuple[str, dict[str, str]]:
    """Return the SQL of a relation with the table's rows in order, and the types of its columns."""
    if not table.exists():
        raise InputError(f"the table {str(table)!r} does not exist; expected a CSV file, parquet file or folder.")
    source = Source(path=table.name)
    paths = sources.local_files(table.stem, source, table.resolve().parent)
    if sources.is_text(source):
        link = work / f"table{table.suffix}"
        link.symlink_to(table.resolve())
        is_unicode = text_copy.guessed(table.stem, paths[0]) is None
        encoding = None if is_unicode else project.sources[project.label.source].encoding
        relation = text_file.relation(table.stem, paths[0], link, project.limits.columns, encoding).relation
    else:
        relation = sources.parquet_relation(paths)
    return relation, columns.describe(engine, relation)


@dataclass(frozen=True)
class _Computed:
    """The features of a table: the query that selects them, what it uses, and what it could not read."""

    query: str
    used: set[str]
    unreadable: Mapping[str, int]


def _direct(
    engine: duckdb.DuckDBPyConnection, features: Mapping[str, str], table: Path, relation: str, raw: Mapping[str, str]
) -> _Computed:
    """Take the features from columns of their names."""
    absent = sorted(set(features) - set(raw))
    if absent:
        raise InputError(
            f"{table.name} lacks the features {absent}; expected a column for each of {sorted(features)}, because "
            "the project computes them from several sources. Add the columns."
        )
    converted = {name: _feature(name, raw[name], kind) for name, kind in features.items()}
    unreadable = _unreadable(engine, relation, raw, converted, Source(path=table.name))
    return _Computed(f"SELECT {_listed(converted)} FROM {relation}", set(features), unreadable)


def _through_view(
    engine: duckdb.DuckDBPyConnection,
    project: Project,
    view: Path,
    features: Mapping[str, str],
    table: Path,
    relation: str,
    raw: Mapping[str, str],
    types: Mapping[str, str] | None,
) -> _Computed:
    """Compute the features by the SQL of the project's only view, over the rows as its only source."""
    [(name, source)] = project.sources.items()
    query = view.read_text(encoding="utf-8").strip().rstrip(";")
    own, own_types = relation, raw
    if source.convert:
        # Values that are not texts need no conversion from the texts of the training table.
        relation = conversion.applied(own, {c: t for c, t in own_types.items() if plain.is_text(t)}, source)
        raw = columns.describe(engine, relation)
    typed = _typed(engine, relation, raw, types, source, project)
    used = {column for column in typed if _mentions(query, column)}
    added = {source.row_number} | ({source.time} if source.constant_time else set())
    known_later = {project.label.column, project.entity, project.event_time, source.time}
    absent = sorted(used - set(raw) - added - known_later)
    if absent:
        raise InputError(
            f"{table.name} lacks the columns {absent}, which {view.name} computes features from; it has "
            f"{sorted(raw)}. Add the columns, empty where nothing is known."
        )
    converted = {
        column: plain.expression(column, raw[column], kind, source, strict=False)
        if column in raw
        else f"CAST(NULL AS {kind})"
        for column, kind in typed.items()
    }
    read = {column: sql for column, sql in converted.items() if column in used and column in raw}
    if source.row_number:
        converted[source.row_number] = "row_number() OVER ()"
    if source.constant_time:
        converted[str(source.time)] = plain.moment(source.constant_time)
    engine.execute(f"CREATE TEMP VIEW {identifier(name)} AS SELECT {_listed(converted)} FROM {relation}")
    engine.execute(f"CREATE TEMP VIEW _answer AS {query}")
    selected = ", ".join(map(identifier, features))
    unreadable = _unreadable(engine, relation, raw, read, source)
    for column in source.convert:
        if column in read and plain.is_text(own_types[column]):
            lost = conversion.count(engine, name, column, own, own_types, source).lost
            unreadable |= {column: lost + unreadable.get(column, 0)} if lost else {}
    return _Computed(f"SELECT {selected} FROM _answer", used, unreadable)


def _only_view(project: Project, root: Path) -> Path | None:
    """Return the view of a project with one source and one view, so that a new row is a row of features."""
    views = sorted((root / "feature_repo" / "sql").glob("*.sql"))
    return views[0] if len(project.sources) == len(views) == 1 else None


def _beside(
    engine: duckdb.DuckDBPyConnection,
    relation: str,
    raw: Mapping[str, str],
    computed: _Computed,
    features: tuple[str, ...],
    table: Path,
) -> NewRows:
    """Put the features beside the user's columns; both keep the order of the rows."""
    rows, feature_rows = (
        int(engine.execute(f"SELECT count(*) FROM {source}").fetchall()[0][0])
        for source in (relation, f"({computed.query})")
    )
    if rows != feature_rows:
        raise InputError(
            f"the SQL of the feature view makes {feature_rows:,} rows of the {rows:,} rows of {table.name}; expected "
            "one per row. Score a table with one column per feature instead."
        )
    if rows == 0:
        raise InputError(f"{table.name} has no rows; expected at least one.")
    own = ", ".join(f"{identifier(name)} AS r{i}" for i, name in enumerate(raw))
    made = ", ".join(f"{identifier(name)} AS f{i}" for i, name in enumerate(features))
    query = f"SELECT * FROM (SELECT {own} FROM {relation}) POSITIONAL JOIN (SELECT {made} FROM ({computed.query}))"
    ignored = tuple(name for name in raw if name not in computed.used)
    return NewRows(engine, query, tuple(raw), features, rows, ignored, computed.unreadable)


def _typed(
    engine: duckdb.DuckDBPyConnection,
    relation: str,
    raw: Mapping[str, str],
    types: Mapping[str, str] | None,
    source: Source,
    project: Project,
) -> dict[str, str]:
    """Return the type of each column of the source: as in training where that is known, otherwise by its values."""
    if types is not None:
        return dict(types)
    if all(kind == "VARCHAR" for kind in raw.values()):
        return text_file.inferred(engine, relation, raw, source, columns.numeric_features(project))
    return {name: plain.plain_type("table", name, kind) for name, kind in raw.items()}


def _feature(name: str, raw: str, kind: str) -> str:
    """Return SQL for a column that is a feature already; booleans may be spelled as words or numbers."""
    source = Source(path="table")
    if kind == "boolean":
        text = f"lower({plain.cleaned(name)})"
        return f"CASE WHEN {text} IN ({_TRUE}) THEN true WHEN {text} IN ({_FALSE}) THEN false END"
    if kind == "categorical" and raw != "VARCHAR":
        return identifier(name)
    return plain.expression(name, raw, _SQL_TYPES[kind], source, strict=False)


def _unreadable(
    engine: duckdb.DuckDBPyConnection,
    relation: str,
    raw: Mapping[str, str],
    converted: Mapping[str, str],
    source: Source,
) -> dict[str, int]:
    """Count the values of each column that are there and become missing by the conversion."""
    texts = [name for name in converted if raw.get(name) == "VARCHAR"]
    if not texts:
        return {}
    lost = ", ".join(f"count({plain.present(name, source)}) - count({converted[name]})" for name in texts)
    counts = engine.execute(f"SELECT {lost} FROM {relation}").fetchall()[0]
    return {name: int(count) for name, count in zip(texts, counts, strict=True) if count}


def _mentions(query: str, column: str) -> bool:
    """Return whether a query names a column, in quotes or, if it is a plain word, without; comments name nothing."""
    query = re.sub(r"--[^\n]*|/\*.*?\*/", "", query, flags=re.DOTALL)
    if identifier(column) in query:
        return True
    return column.isidentifier() and re.search(rf"\b{re.escape(column)}\b", query, re.IGNORECASE) is not None


def _listed(selected: Mapping[str, str]) -> str:
    return ", ".join(f"{sql} AS {identifier(name)}" for name, sql in selected.items())
