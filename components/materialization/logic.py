"""Fill Feast's online store from the offline features: by window, and never backwards in time."""

import contextlib
import logging
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from feast import FeatureStore, FeatureView
from feast.infra.provider import get_provider
from feast.utils import _convert_arrow_to_proto
from feast.value_type import ValueType

from components.materialization import online, rows
from components.materialization.window import Window
from components.shared import bundle
from components.shared.documents.materialization import MaterializationSummary, MaterializedView
from components.shared.errors import StepFailed
from components.shared.features import repository
from components.shared.features.repository import ViewSpec
from components.shared.features.snapshot import clock, connect

__all__ = ["Window", "materialize"]

logger = logging.getLogger(__name__)

BATCH = 5_000
"""Entities that are read and written at once."""
# Redis gives a time back as a floating-point number of seconds.
_REDIS_RESOLUTION = timedelta(microseconds=2)


def materialize(bundle_path: str, snapshot: Path, online_store: str, window: Window) -> MaterializationSummary:
    """Write the newest row per entity within a window to the online store.

    Feast's SQLite store replaces whatever it holds, so what the store holds is read first, and only rows with a newer
    event time are written. Running a window again, or an older one, therefore changes nothing. SQLite keeps whole
    seconds, so there a row counts as newer from the next second on. A row that becomes true after the newest time of
    the tables, such as the end of a period, is left to a later run: online, it would count at once.

    Args:
        bundle_path: The project bundle.
        snapshot: Folder with ``<source>.parquet`` and ``snapshot.json``.
        online_store: A folder (SQLite), or ``redis://host:port?project=name``.
        window: Of event times.

    Raises:
        InputError: If the feature repository, the snapshot and the address are not consistent.
        StepFailed: If the online store cannot be reached.
    """
    project, window = bundle.project(bundle_path), window.until(clock(snapshot))
    with tempfile.TemporaryDirectory() as folder, connect(snapshot, Path(folder) / "spill") as connection:
        repo = bundle.extract(bundle_path, Path(folder))
        objects = repository.load(repo)
        views = repository.views(objects, project)
        scratch = Path(folder) / "store"
        scratch.mkdir()
        store = online.open_store(online_store, repo, scratch)
        tables = {view.name: rows.newest(connection, repo, view, window) for view in views}
        # Feast reads the columns of a file source, whose path is relative to the working directory.
        with contextlib.chdir(repo), _failures(online_store):
            for view in views:
                Path(view.path).parent.mkdir(parents=True, exist_ok=True)
                pq.write_table(tables[view.name], view.path)
            store.apply(objects)
            written = tuple(_write(store, view, tables[view.name]) for view in views)
    for result in written:
        logger.info("%s: %d rows written, %d kept", result.view, result.written, result.kept)
    limits = {name: moment and moment.isoformat() for name, moment in (("start", window.start), ("end", window.end))}
    return MaterializationSummary(store=online.public(online_store), views=written, **limits)


def _write(store: FeatureStore, spec: ViewSpec, table: pa.Table) -> MaterializedView:
    """Write the rows of a view that are newer than what the store holds."""
    view = store.get_feature_view(spec.name)
    provider, written = get_provider(store.config), 0
    whole_seconds = store.config.online_store.type == "sqlite"
    for batch in table.combine_chunks().to_batches(max_chunksize=BATCH):
        stored = _convert_arrow_to_proto(_as_feast(batch, spec), view, _join_keys(store, view))
        held = provider.online_read(store.config, view, [key for key, *_ in stored], [spec.features[0]])
        newer = [row for row, (moment, _) in zip(stored, held, strict=True) if _is_newer(row[2], moment, whole_seconds)]
        if newer:
            provider.online_write_batch(store.config, view, newer, None)
        written += len(newer)
    return MaterializedView(view=spec.name, written=written, kept=len(table) - written)


def _is_newer(moment: datetime, held: datetime | None, whole_seconds: bool) -> bool:
    if held is None:
        return True
    if whole_seconds:
        return _utc(moment).replace(microsecond=0) > _utc(held)
    return _utc(moment) - _utc(held) > _REDIS_RESOLUTION


def _utc(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _as_feast(batch: pa.RecordBatch, spec: ViewSpec) -> pa.Table:
    """Give the times their zone: Feast takes a time without one for local time."""
    table = pa.Table.from_batches([batch])
    for name in (spec.time, *([spec.created] if spec.created else [])):
        at = table.column_names.index(name)
        table = table.set_column(at, name, table[name].cast(pa.timestamp("us", tz="UTC")))
    return table


def _join_keys(store: FeatureStore, view: FeatureView) -> dict[str, ValueType]:
    return {column.name: column.dtype.to_value_type() for column in view.entity_columns}


@contextlib.contextmanager
def _failures(address: str) -> Iterator[None]:
    """Turn a Redis server that does not answer, or refuses us, into a sentence."""
    from redis.exceptions import RedisError

    try:
        yield
    except RedisError as error:
        reason: Any = " ".join(str(error).split()).rstrip(".")
        raise StepFailed(
            f"the online store {online.public(address)} does not answer or refuses the command ({reason}); check "
            f"services.online_store in the target file and the variable {online.PASSWORD} of the steps."
        ) from error
