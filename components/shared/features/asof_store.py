"""A Feast offline store that joins point in time by DuckDB's ASOF join, with the answers of Feast's own DuckDB store.

Use it in ``feature_store.yaml`` by its class path::

    offline_store:
      type: components.shared.features.asof_store.AsofOfflineStore

This module imports nothing else of this project. Columns whose names begin with ``asof`` are its own. What it does not
join itself (a source that is no parquet file, an on-demand view in the substrait mode) is left to Feast's store, from
which it also inherits everything but the join.

An ASOF join gives each example the newest row that is not newer than the example. Two things need a preparation:

- Late rows. A row is usable from ``max(event time, created)`` on. Of all rows that are usable at a moment, the answer
  is that with the largest (event time, created); so a row that becomes usable when one with a larger (event time,
  created) is usable already is never an answer. Without such rows, the newest usable row is the answer.
- Ties. Of rows that become usable at once, the one with the largest (event time, created) is kept.

Times are compared in microseconds, DuckDB's resolution; a time without a zone is UTC. Keys are compared exactly: texts
and numbers, or integers and floating-point numbers, are refused as the same key of a view and of the examples.

A row that is older than the view's time to live is no answer, and then no other row is, since all others are older.
Views are joined one after another: several ASOF joins in one query take many times the memory (duckdb issue 17001).
"""

import tempfile
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

import duckdb
import ibis
import pandas as pd
from feast import FeatureView
from feast.data_format import ParquetFormat
from feast.feature_view import DUMMY_ENTITY_ID
from feast.infra.offline_stores.duckdb import DuckDBOfflineStore, DuckDBOfflineStoreConfig, _write_data_source
from feast.infra.offline_stores.file_source import FileSource
from feast.infra.offline_stores.ibis import IbisRetrievalJob
from feast.infra.offline_stores.offline_store import RetrievalJob, RetrievalMetadata
from feast.infra.offline_stores.offline_utils import infer_event_timestamp_from_entity_df
from feast.infra.registry.base_registry import BaseRegistry
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.repo_config import RepoConfig

_ROW = "asof row"
_TIME = "asof time"
_USABLE, _RANK = '"asof usable"', '"asof rank"'
_FACTOR = 2**64
"""More microseconds than any time has."""


class AsofOfflineStoreConfig(DuckDBOfflineStoreConfig):
    """Settings of the store.

    ``memory_limit`` and ``temp_directory`` are DuckDB's; what does not fit into memory goes to files there for the time
    being, by default to the system's folder for temporary files.
    """

    type: str = "components.shared.features.asof_store.AsofOfflineStore"
    memory_limit: str = "2GB"
    temp_directory: str | None = None


class _View(NamedTuple):
    """What the join needs to know of a feature view.

    ``keys`` is column of the source to column of the examples; a view of the whole world has none. ``features`` is name
    in the source to name in the result.
    """

    name: str
    path: str
    keys: Mapping[str, str]
    time: str
    created: str | None
    ttl: timedelta | None
    features: Mapping[str, str]


class AsofOfflineStore(DuckDBOfflineStore):
    """Feast's DuckDB store with another join."""

    @staticmethod
    def get_historical_features(
        config: RepoConfig,
        feature_views: list[FeatureView],
        feature_refs: list[str],
        entity_df: pd.DataFrame | str,
        registry: BaseRegistry,
        project: str,
        full_feature_names: bool = False,
        filter_by_created_timestamp: bool = False,
    ) -> RetrievalJob:
        """Join features point in time; see Feast's ``OfflineStore``.

        Raises:
            ValueError: If a key has another type in a view than in the examples.
        """
        on_demand = OnDemandFeatureView.get_requested_odfvs(feature_refs, project, registry)
        plain = all(_is_parquet(view) for view in feature_views) and all(view.mode != "substrait" for view in on_demand)
        if isinstance(entity_df, str) or not plain:
            return DuckDBOfflineStore.get_historical_features(
                config,
                feature_views,
                feature_refs,
                entity_df,
                registry,
                project,
                full_feature_names,
                filter_by_created_timestamp,
            )
        time = infer_event_timestamp_from_entity_df(dict(zip(entity_df.columns, entity_df.dtypes, strict=True)))
        views = [_view(view, feature_refs, full_feature_names) for view in feature_views]
        times = pd.to_datetime(entity_df[time], utc=True)
        joined = _join(config, entity_df, time, times, views, late=filter_by_created_timestamp)
        return IbisRetrievalJob(
            ibis.memtable(joined),
            on_demand,
            full_feature_names,
            metadata=RetrievalMetadata(
                features=feature_refs,
                keys=[name for name in entity_df.columns if name != time],
                min_event_timestamp=times.min().to_pydatetime(),
                max_event_timestamp=times.max().to_pydatetime(),
            ),
            data_source_writer=_write_data_source,
            staging_location=config.offline_store.staging_location,
            staging_location_endpoint_override=config.offline_store.staging_location_endpoint_override,
            repo_path=str(config.repo_path),
        )


def _is_parquet(view: FeatureView) -> bool:
    source = view.batch_source
    if not isinstance(source, FileSource) or "://" in source.path:
        return False
    return isinstance(source.file_format, ParquetFormat) or (
        source.file_format is None and source.path.endswith(".parquet")
    )


def _view(view: FeatureView, feature_refs: Sequence[str], full_names: bool) -> _View:
    source, prefix = view.batch_source, view.projection.name_to_use()
    wanted = [ref.split(":", 1)[1] for ref in feature_refs if ref.startswith(f"{prefix}:")]
    shown = view.projection.name_alias or view.name
    originals = {new: old for old, new in source.field_mapping.items()}
    keys = {column.name: column.name for column in view.entity_columns if column.name != DUMMY_ENTITY_ID}
    keys |= view.projection.join_key_map
    created = source.created_timestamp_column
    return _View(
        name=shown,
        path=source.path,
        keys={originals.get(key, key): column for key, column in keys.items()},
        time=originals.get(source.timestamp_field, source.timestamp_field),
        created=originals.get(created, created) or None,
        ttl=view.ttl or None,
        features={originals.get(name, name): f"{shown}__{name}" if full_names else name for name in wanted},
    )


def _join(
    config: RepoConfig, entity_df: pd.DataFrame, time: str, times: pd.Series, views: Sequence[_View], *, late: bool
) -> Any:
    """Return the examples in their order with the features of all views, as an Arrow table."""
    store = config.offline_store
    with tempfile.TemporaryDirectory(dir=getattr(store, "temp_directory", None)) as spill:
        settings: dict[str, Any] = {
            "memory_limit": getattr(store, "memory_limit", "2GB"),
            "temp_directory": spill,
            # Nothing is downloaded while features are joined.
            "autoinstall_known_extensions": False,
        }
        with duckdb.connect(config=settings) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            examples = entity_df.assign(**{time: times, _ROW: range(len(entity_df))})
            connection.register("examples", examples)
            for number, view in enumerate(views):
                _check_keys(connection, view)
                connection.execute(_query(f"joined{number}", view, time, late=late))
            columns = [_quoted(name) for name in entity_df.columns]
            columns += [_quoted(name) for view in views for name in view.features.values()]
            tables = "".join(f" LEFT JOIN joined{number} USING ({_quoted(_ROW)})" for number in range(len(views)))
            query = f"SELECT {', '.join(columns)} FROM examples{tables} ORDER BY {_quoted(_ROW)}"
            return connection.sql(query).to_arrow_table()


def _check_keys(connection: duckdb.DuckDBPyConnection, view: _View) -> None:
    """Refuse keys that DuckDB would compare after a conversion, which fails for texts and rounds large integers."""
    asked = _types(connection, "examples")
    for key, kind in _types(connection, f"read_parquet({_literal(view.path)})").items():
        column = view.keys.get(key)
        if column and _family(kind) != _family(asked[column]):
            raise ValueError(
                f"the key {key!r} of the feature view {view.name!r} has the type {kind}, and {column!r} of the "
                f"examples has {asked[column]}; expected one type. Cast one of them."
            )


def _types(connection: duckdb.DuckDBPyConnection, table: str) -> dict[str, str]:
    return {name: kind for name, kind, *_ in connection.sql(f"DESCRIBE SELECT * FROM {table}").fetchall()}


def _family(kind: str) -> str:
    """Return what a type can be compared with exactly."""
    if kind.startswith("ENUM"):
        return "VARCHAR"
    return "INTEGER" if kind.removeprefix("U").endswith(("INT", "INTEGER")) else kind


def _query(name: str, view: _View, time: str, *, late: bool) -> str:
    """Return the statement that joins one view: a table with the number of each example and the view's features."""
    keys = [_quoted(key) for key in view.keys]
    moment = f"{_quoted(view.time)}::TIMESTAMPTZ"
    created = f"{_quoted(view.created)}::TIMESTAMPTZ" if view.created else None
    cutoff = created if late else None
    usable = f"greatest({moment}, {cutoff})" if cutoff else moment
    # One number that orders as (event time, created) does.
    order = f"epoch_us({moment})::HUGEINT * {_FACTOR}" + (f" + coalesce(epoch_us({created}), 0)" if created else "")
    complete = " AND ".join(f"{column} IS NOT NULL" for column in filter(None, (moment, cutoff)))
    inner = {column: f"asof feature {index}" for index, column in enumerate(view.features)}
    picked = "".join(f", {_quoted(column)} AS {_quoted(alias)}" for column, alias in inner.items())
    last = f"ROW_NUMBER() OVER (PARTITION BY {', '.join([*keys, _USABLE])} ORDER BY {_RANK} DESC) = 1"
    times = [f"{moment} AS {_quoted(_TIME)}", f"{usable} AS {_USABLE}", f"{order} AS {_RANK}"]
    # As in Feast's store, a relative path is one below the working directory.
    rows = f"SELECT {', '.join([*keys, *times])}{picked} FROM read_parquet({_literal(view.path)}) WHERE {complete}"
    if keys:
        # Rows of other entities would be sorted in vain where the examples are few.
        asked = ", ".join(_quoted(column) for column in view.keys.values())
        rows += f" AND ({', '.join(keys)}) IN (SELECT ({asked}) FROM examples)"
    if created:
        rows = f"SELECT * FROM ({rows}) QUALIFY {last}"
    if cutoff:
        of_key = f"PARTITION BY {', '.join(keys)} " if keys else ""
        earlier = f"{of_key}ORDER BY {_USABLE} ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING"
        rows = f"SELECT * FROM ({rows}) QUALIFY {_RANK} > coalesce(max({_RANK}) OVER ({earlier}), {_RANK} - 1)"
    alive = "TRUE" if view.ttl is None else f"v.{_quoted(_TIME)} + {_interval(view.ttl)} >= e.{_quoted(time)}"
    features = "".join(
        f", CASE WHEN {alive} THEN v.{_quoted(inner[column])} END AS {_quoted(shown)}"
        for column, shown in view.features.items()
    )
    on = "".join(f"e.{_quoted(column)} = v.{_quoted(key)} AND " for key, column in view.keys.items())
    return (
        f"CREATE TEMP TABLE {name} AS SELECT e.{_quoted(_ROW)}{features} FROM examples e"
        f" ASOF LEFT JOIN ({rows}) v ON {on}e.{_quoted(time)} >= v.{_USABLE}"
    )


def _interval(ttl: timedelta) -> str:
    return f"INTERVAL {ttl // timedelta(microseconds=1)} MICROSECONDS"


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _quoted(name: str) -> str:
    """Quote an identifier."""
    return '"' + name.replace('"', '""') + '"'
