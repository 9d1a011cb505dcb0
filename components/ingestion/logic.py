"""Copy every source of a project into an immutable parquet snapshot."""

import hashlib
import logging
import shutil
from pathlib import Path

import duckdb

from components.ingestion import columns, conversion, database, keys, plain, shards, table, text_file
from components.shared import label_values, sources
from components.shared.documents.snapshot import SnapshotDescription, TableDescription
from components.shared.errors import InputError, PerennialError, StepFailed, is_disk_full
from components.shared.project import Project, Source
from components.shared.sql import identifier, literal

log = logging.getLogger(__name__)


def ingest(project: Project, source_root: str, out: Path) -> SnapshotDescription:
    """Write ``<source>.parquet`` per source and ``snapshot.json`` into ``out``.

    Equal content produces equal bytes. Times become UTC without a zone, in microseconds; integers become BIGINT,
    other numbers DOUBLE and texts VARCHAR; blank texts and NaN are missing values. A failure leaves nothing in ``out``.

    Args:
        project: The project whose sources are copied.
        source_root: The folder that the project file's paths are relative to, or ``s3://bucket/prefix`` or
            ``gs://bucket/prefix``; ``sources.key`` defines the key of each source below the prefix.
        out: The snapshot's folder; an existing one is replaced.

    Raises:
        InputError: About the first mismatch between a source and the project file.
        StepFailed: If the disk is full.
    """
    partial = out.with_name(out.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        if sources.is_remote(source_root):
            fetched = partial / ".work" / "fetched"
            project, source_root = sources.fetch(project, source_root, fetched), str(fetched)
        tables = {name: _copy(project, name, Path(source_root), partial) for name in sorted(project.sources)}
        for name in keys.to_copy_as_text(project, tables):
            tables[name] = _copy(project, name, Path(source_root), partial, text_entity=True)
        shutil.rmtree(partial / ".work", ignore_errors=True)
        digest = hashlib.sha256("".join(f"{name} {table.content_hash}\n" for name, table in tables.items()).encode())
        snapshot = SnapshotDescription(content_hash=digest.hexdigest(), tables=tables)
        snapshot.write(partial)
        shutil.rmtree(out, ignore_errors=True)
        partial.replace(out)
    except OSError as problem:
        if not is_disk_full(problem):
            raise
        raise StepFailed(
            f"the disk is full: no space in {out.parent} for the snapshot, which is a copy of the sources; "
            "free some space ('perennial gc' removes old runs) and run again."
        ) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return snapshot


def _copy(project: Project, name: str, root: Path, folder: Path, *, text_entity: bool = False) -> TableDescription:
    """Copy one source and describe it."""
    source = project.sources[name]
    work = folder / ".work" / f"{name}.work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    with _engine(work) as engine:
        try:
            relation, repeated_headers = _open(engine, project, name, root, work)
            raw = columns.describe(engine, relation)
            columns.check(project, name, raw)
            unconverted: dict[str, int] = {}
            if source.convert:
                needed = {project.entity, *columns.time_columns(project, name)}
                unconverted = conversion.check(engine, name, relation, raw, source, needed)
                relation = conversion.applied(relation, raw, source)
                raw = columns.describe(engine, relation)
            raw = _with_single_values(project, name, raw)
            types = _types(engine, project, name, relation, raw)
            if project.entity in types:
                types[project.entity] = keys.exact(project, name, types[project.entity], as_text=text_entity)
            described = table.write(engine, relation, raw, types, project, name, folder / f"{name}.parquet")
            described = described.model_copy(update={"repeated_headers": repeated_headers, "unconverted": unconverted})
            if name == project.label.source:
                _check_label(engine, project, folder / f"{name}.parquet")
        except duckdb.Error as problem:
            raise _unreadable(name, source, problem) from None
    log.info("%s: %d rows, %d columns, content %s", name, described.rows, len(raw), described.content_hash[:12])
    return described


def _types(
    engine: duckdb.DuckDBPyConnection, project: Project, name: str, relation: str, raw: dict[str, str]
) -> dict[str, str]:
    """Return the type to write for each column: by its values where they are texts of a file, or long integers."""
    source = project.sources[name]
    texts = [column for column, type_ in raw.items() if type_ == "VARCHAR"] if sources.is_text(source) else []
    types = {column: plain.plain_type(name, column, type_) for column, type_ in raw.items()}
    if texts:
        types |= text_file.inferred(engine, relation, texts, source, columns.numeric_features(project))
    long = [column for column, type_ in raw.items() if plain.is_long(type_)]
    if long:
        counted = ", ".join(map(plain.beyond_64_bits, long))
        beyond = engine.execute(f"SELECT {counted} FROM {relation}").fetchall()[0]
        types |= {column: "VARCHAR" for column, count in zip(long, beyond, strict=True) if count}
    return types


def _with_single_values(project: Project, name: str, raw: dict[str, str]) -> dict[str, str]:
    """Leave out columns of lists, structures or bytes, which no model takes; one that the project names is refused."""
    needed = {column for column, _ in columns.named(project, name)}
    left_out = [column for column in raw if not plain.has_single_values(raw[column]) and column not in needed]
    for column in left_out:
        log.warning("%s: column %r is left out: it has the type %s", name, column, raw[column])
    return {column: type_ for column, type_ in raw.items() if column not in left_out}


def _check_label(engine: duckdb.DuckDBPyConnection, project: Project, copied: Path) -> None:
    """Refuse labels of another task now, not after the steps in between."""
    label = identifier(project.label.column)
    values = engine.execute(
        f"SELECT DISTINCT {label} FROM read_parquet({literal(str(copied))}) WHERE {label} IS NOT NULL "
        f"ORDER BY 1 LIMIT {label_values.LISTED}"
    ).fetchall()
    # A pipeline that only needs the features may see a period without a positive label.
    if len(values) > 1:
        label_values.check(project, [row[0] for row in values])


def _engine(work: Path) -> duckdb.DuckDBPyConnection:
    """Open a database in memory that spills to ``work`` and never fetches an extension."""
    engine = duckdb.connect(
        config={
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "memory_limit": "1GB",
            "temp_directory": str(work / "spill"),
        }
    )
    engine.execute("SET TimeZone = 'UTC'")
    return engine


def _open(engine: duckdb.DuckDBPyConnection, project: Project, name: str, root: Path, work: Path) -> tuple[str, int]:
    """Return the SQL of a relation with the rows of a source, and how many rows repeated its header."""
    source: Source = project.sources[name]
    if source.database is not None:
        return database.relation(engine, name, source, root, work, project.limits.columns), 0
    paths = sources.local_files(name, source, root)
    if sources.is_text(source):
        # The CSV reader takes one path, and would expand '[' or '*' in the file's own name.
        link = work / f"{name}{Path(str(source.path)).suffix}"
        link.symlink_to((root / str(source.path)).resolve())
        rows = text_file.relation(name, paths[0], link, project.limits.columns, source.encoding)
        return rows.relation, rows.repeated_headers
    shards.check(name, paths, project.limits.columns)
    return sources.parquet_relation(paths), 0


def _unreadable(name: str, source: Source, problem: duckdb.Error) -> PerennialError:
    """Return the error for a source that DuckDB cannot read: a full machine, or an invalid source."""
    if isinstance(problem, duckdb.OutOfMemoryException) or "No space left" in str(problem):
        return StepFailed(
            f"source '{name}': no memory or disk space left for the copy ({str(problem).splitlines()[0]}). "
            "Free some memory or disk space and run again."
        )
    if sources.is_text(source):
        return InputError(text_file.csv_error(name, problem))
    if source.database is not None:
        return InputError(database.query_error(name, source, problem))
    return InputError(
        f"source '{name}': {source.path} is not a valid parquet file ({str(problem).splitlines()[0]}); expected a "
        "parquet file or a folder of parquet files. Rewrite the table or correct 'path' in the project file."
    )
