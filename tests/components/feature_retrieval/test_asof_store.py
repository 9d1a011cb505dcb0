"""Our offline store gives the answers of Feast's own DuckDB store, and those of going through every row."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig
from feast.types import Float64
from feast.value_type import ValueType
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.shared.features import asof_store
from components.shared.features.asof_store import AsofOfflineStore

OURS = f"{asof_store.__name__}.{AsofOfflineStore.__name__}"
START = datetime(2026, 1, 1)
WHO = Entity(name="who", join_keys=["who"], value_type=ValueType.STRING)

moments = st.integers(0, 12).map(lambda hours: START + timedelta(hours=hours))
entities = st.sampled_from(["a", "b", "c"])
rows = st.lists(st.tuples(entities, moments, moments, st.floats(0, 9) | st.none()), max_size=12)
asked = st.lists(st.tuples(entities, moments), min_size=1, max_size=8)
ttls = st.sampled_from([timedelta(0), timedelta(hours=3), timedelta(days=9)])


def view(folder: Path, name: str, table: list[tuple[Any, ...]], ttl: timedelta, feature: str = "value") -> FeatureView:
    """Write the rows (who, moment, created, value) of a view; only one of each (who, moment, created) is kept."""
    unique = list({row[:3]: row for row in table}.values())
    columns = list(zip(*unique, strict=True)) or [()] * 4
    types = (pa.string(), pa.timestamp("us"), pa.timestamp("us"), pa.float64())
    arrays = [pa.array(column, kind) for column, kind in zip(columns, types, strict=True)]
    path = folder / f"{name}.parquet"
    pq.write_table(pa.table(arrays, names=["who", "moment", "created", feature]), path)
    source = FileSource(path=str(path), timestamp_field="moment", created_timestamp_column="created")
    return FeatureView(
        name=name, entities=[WHO], ttl=ttl, schema=[Field(name=feature, dtype=Float64)], source=source, online=False
    )


def answers(
    kind: str, folder: Path, views: list[FeatureView], frame: pd.DataFrame, late: bool, entity: Entity = WHO
) -> list[Any]:
    """Ask one kind of store for every feature, one tuple per example in their order."""
    store = FeatureStore(
        config=RepoConfig(
            project="p",
            provider="local",
            registry=str(folder / f"{kind}.db"),
            offline_store={"type": kind},
            entity_key_serialization_version=3,
        )
    )
    store.apply([entity, *views])
    refs = [f"{each.name}:{field.name}" for each in views for field in each.features]
    job = store.get_historical_features(frame.copy(), refs, full_feature_names=True, filter_by_created_timestamp=late)
    joined = job.to_arrow().to_pandas().sort_values("number")
    names = [ref.replace(":", "__") for ref in refs]
    return [tuple(None if pd.isna(v) else v for v in row) for row in joined[names].itertuples(index=False)]


def frame_of(examples: list[tuple[str, datetime]]) -> pd.DataFrame:
    who, times = zip(*examples, strict=True)
    return pd.DataFrame(
        {"who": who, "event_timestamp": [t.replace(tzinfo=UTC) for t in times], "number": range(len(examples))}
    )


def by_hand(table: list[tuple[Any, ...]], ttl: timedelta, example: tuple[str, datetime], late: bool) -> float | None:
    """Go through every row."""
    who, at = example
    unique = {row[:3]: row for row in table}.values()
    usable = [r for r in unique if r[0] == who and r[1] <= at and (not late or r[2] <= at)]
    alive = [r for r in usable if not ttl or r[1] + ttl >= at]
    return max(alive, key=lambda r: (r[1], r[2]))[3] if alive else None


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asked, rows, rows, ttls, ttls, st.booleans())
def test_the_answers_are_those_of_feast_s_store_and_of_going_through_every_row(
    tmp_path_factory: pytest.TempPathFactory, examples, first, second, ttl, other_ttl, late
):
    folder = tmp_path_factory.mktemp("store")
    views = [view(folder, "one", first, ttl), view(folder, "two", second, other_ttl)]
    frame = frame_of(examples)

    ours = answers(OURS, folder, views, frame, late)

    assert ours == [
        (by_hand(first, ttl, example, late), by_hand(second, other_ttl, example, late)) for example in examples
    ]
    assert ours == answers("duckdb", folder, views, frame, late)


@pytest.mark.parametrize("feature", ["value_y", "rn", "entity_row_id", "event_expire_timestamp"])
def test_names_that_feast_s_join_uses_itself_are_names_like_any_other(tmp_path: Path, feature: str):
    views = [view(tmp_path, "one", [("a", START, START, 1.5)], timedelta(days=1), feature)]

    assert answers(OURS, tmp_path, views, frame_of([("a", START)]), late=True) == [(1.5,)]


@pytest.mark.parametrize("key", ["rank", "usable", "order", "value row"])
def test_an_entity_may_have_any_name(tmp_path: Path, key: str):
    times = pa.array([START, START], pa.timestamp("us"))
    table = pa.table({key: ["a", "b"], "moment": times, "created": times, "value": [1.0, 2.0]})
    pq.write_table(table, tmp_path / "one.parquet")
    who = Entity(name="entity", join_keys=[key], value_type=ValueType.STRING)
    source = FileSource(
        path=str(tmp_path / "one.parquet"), timestamp_field="moment", created_timestamp_column="created"
    )
    schema = [Field(name="value", dtype=Float64)]
    views = [FeatureView(name="one", entities=[who], ttl=timedelta(days=1), schema=schema, source=source, online=False)]
    frame = frame_of([("b", START), ("a", START)]).rename(columns={"who": key})

    assert answers(OURS, tmp_path, views, frame, late=True, entity=who) == [(2.0,), (1.0,)]


def test_a_row_that_arrived_late_is_used_from_then_on_and_a_later_event_still_wins(tmp_path: Path):
    hours = [START + timedelta(hours=n) for n in range(6)]
    table = [("a", hours[0], hours[0], 0.0), ("a", hours[1], hours[4], 1.0), ("a", hours[2], hours[2], 2.0)]
    views = [view(tmp_path, "one", table, timedelta(days=1))]

    found = answers(OURS, tmp_path, views, frame_of([("a", hours[n]) for n in (1, 2, 3, 4, 5)]), late=True)

    assert found == [(0.0,), (2.0,), (2.0,), (2.0,), (2.0,)]


def test_no_example_is_lost_or_doubled_whatever_its_entity_and_time(tmp_path: Path):
    views = [view(tmp_path, "one", [("a", START, START, 1.0)], timedelta(days=1))]
    examples = [("a", START)] * 3 + [("unknown", START), ("a", START - timedelta(days=1)), ("a", START + timedelta(2))]

    assert answers(OURS, tmp_path, views, frame_of(examples), late=True) == [(1.0,)] * 3 + [(None,)] * 3


def store_with(folder: Path, view: FeatureView, entity: Entity) -> FeatureStore:
    """Open our store with one view."""
    config = RepoConfig(
        project="p",
        provider="local",
        registry=str(folder / "registry.db"),
        offline_store={"type": OURS},
        entity_key_serialization_version=3,
    )
    store = FeatureStore(config=config)
    store.apply([entity, view])
    return store


def values_of(
    folder: Path,
    rows: dict[str, Any],
    examples: dict[str, Any],
    *,
    ttl: timedelta = timedelta(0),
    feature: str = "value",
    kind: ValueType = ValueType.STRING,
) -> list[Any]:
    """Join the rows (who, moment, feature) with the examples (who, event_timestamp); both are columns."""
    pq.write_table(pa.table(rows), folder / "rows.parquet")
    entity = Entity(name="who", join_keys=["who"], value_type=kind)
    source = FileSource(path=str(folder / "rows.parquet"), timestamp_field="moment")
    schema = [Field(name=feature, dtype=Float64)]
    view = FeatureView(name="rows", entities=[entity], ttl=ttl, schema=schema, source=source, online=False)
    store = store_with(folder, view, entity)
    job = store.get_historical_features(pd.DataFrame(examples), [f"rows:{feature}"], full_feature_names=True)
    return job.to_arrow()[f"rows__{feature}"].to_pylist()


def test_a_time_to_live_of_zero_is_none_at_all(tmp_path: Path):
    rows = {"who": ["a"], "moment": [datetime(1971, 1, 1)], "value": [1.0]}

    assert values_of(tmp_path, rows, {"who": ["a"], "event_timestamp": [START]}) == [1.0]


@pytest.mark.parametrize("year", [1, 1900, 1969, 2026, 2200, 9990])
@pytest.mark.parametrize("zone", [None, UTC], ids=["without a zone", "with a zone"])
def test_times_of_every_century_are_compared_as_utc(tmp_path: Path, year: int, zone: Any):
    moments = [datetime(year, 1, day, tzinfo=zone) for day in (2, 3, 4)]
    rows = {"who": ["a"] * 3, "moment": pa.array(moments, pa.timestamp("us", "UTC" if zone else None))}
    earlier = [moment - timedelta(microseconds=1) for moment in moments]
    asked = pd.Series(earlier, dtype="datetime64[us, UTC]" if zone else "datetime64[us]")

    answer = values_of(tmp_path, rows | {"value": [1.0, 2.0, 3.0]}, {"who": ["a"] * 3, "event_timestamp": asked})

    assert answer == [None, 1.0, 2.0]


def test_times_in_nanoseconds_are_those_in_microseconds(tmp_path: Path):
    moments = pa.array([START, START + timedelta(microseconds=2)], pa.timestamp("ns"))
    asked = pd.Series([START, START + timedelta(microseconds=1), START + timedelta(microseconds=2)])
    examples = {"who": ["a"] * 3, "event_timestamp": asked.astype("datetime64[ns]")}

    assert values_of(tmp_path, {"who": ["a", "a"], "moment": moments, "value": [1.0, 2.0]}, examples) == [1, 1, 2]


def test_identifiers_beyond_the_precision_of_floating_point_numbers_stay_apart(tmp_path: Path):
    rows = {"who": [2**53, 2**53 + 1, -1], "moment": [START] * 3, "value": [1.0, 2.0, 3.0]}
    examples = {"who": [2**53 + 1, 2**53, 2**53 + 2], "event_timestamp": [START] * 3}

    assert values_of(tmp_path, rows, examples, kind=ValueType.INT64) == [2.0, 1.0, None]


@pytest.mark.parametrize(
    ("keys", "asked"),
    [(["1", "x"], [1, 2]), ([1, 2], ["1", "x"]), ([1.0, 2.0], [1, 2]), ([1, 2], [1.0, float("nan")])],
    ids=["text for integer", "integer for text", "float for integer", "integer for float"],
)
def test_keys_of_another_type_are_refused_in_a_sentence(tmp_path: Path, keys: list[Any], asked: list[Any]):
    rows = {"who": keys, "moment": [START] * 2, "value": [1.0, 2.0]}

    with pytest.raises(
        ValueError, match=r"the key 'who' of the feature view 'rows' has the type .*; expected one type"
    ):
        values_of(tmp_path, rows, {"who": asked, "event_timestamp": [START] * 2}, kind=ValueType.INT64)


def test_integers_of_another_width_are_equal(tmp_path: Path):
    rows = {"who": pa.array([1, 2], pa.uint8()), "moment": [START] * 2, "value": [1.0, 2.0]}

    assert values_of(tmp_path, rows, {"who": [2, 1], "event_timestamp": [START] * 2}, kind=ValueType.INT64) == [
        2.0,
        1.0,
    ]


def test_a_feature_may_have_the_name_of_the_time_of_the_examples(tmp_path: Path):
    rows = {"who": ["a"], "moment": [START], "event_timestamp": [1.5]}

    assert values_of(tmp_path, rows, {"who": ["a"], "event_timestamp": [START]}, feature="event_timestamp") == [1.5]


@pytest.mark.parametrize("late", [True, False])
def test_a_view_without_an_entity_has_one_history_for_all_examples(tmp_path: Path, late: bool):
    times = [START, START + timedelta(hours=1), START + timedelta(hours=2)]
    columns = {"moment_1": times, "created": [times[0], times[2], times[2]], "value": [0.0, 1.0, 2.0]}
    pq.write_table(pa.table(columns), tmp_path / "world.parquet")
    source = FileSource(
        path=str(tmp_path / "world.parquet"),
        timestamp_field="moment",
        created_timestamp_column="created",
        field_mapping={"moment_1": "moment"},
    )
    world = FeatureView(name="world", schema=[Field(name="value", dtype=Float64)], source=source, online=False)
    frame = pd.DataFrame({"who": ["a", "b", "a"], "event_timestamp": times})

    job = store_with(tmp_path, world, WHO).get_historical_features(
        frame, ["world:value"], filter_by_created_timestamp=late
    )

    assert job.to_arrow()["value"].to_pylist() == ([0.0, 0.0, 2.0] if late else [0.0, 1.0, 2.0])
