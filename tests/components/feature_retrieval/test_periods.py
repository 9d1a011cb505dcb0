"""A view that is computed period by period has the rows that one query over everything has."""

import itertools
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.shared.errors import InputError
from components.shared.features import view_rows
from components.shared.features.repository import ViewSpec
from components.shared.features.snapshot import connect
from tests import documents
from tests.components.feature_retrieval.tiny_project import Tiny, View, day

USED = [("who", pa.string()), ("used_at", pa.timestamp("us")), ("known_at", pa.timestamp("us")), ("gb", pa.float64())]
BY_PERIOD = """
SELECT who, $end AS moment, max(known_at) AS created, sum(gb) AS gb
FROM usage WHERE used_at >= $start AND used_at < $end GROUP BY who
"""
FROM_SCRATCH = """
SELECT who, moment, max(known_at) AS created, sum(gb) AS gb
FROM (SELECT *, time_bucket(INTERVAL '{0}', used_at) + INTERVAL '{0}' AS moment FROM usage)
WHERE moment <= (SELECT max(used_at) FROM usage) GROUP BY who, moment
"""
PERIODS = ("1 day", "1 week", "1 month", "36 hours")


def rows_of(snapshot: Path, sql: str, period: str | None) -> list[tuple[object, ...]]:
    """Return the sorted rows (who, moment, created, gb) of a view."""
    repo = snapshot.parent / "repo"
    (repo / "sql").mkdir(parents=True, exist_ok=True)
    (repo / "sql" / "totals.sql").write_text(sql)
    view = ViewSpec("totals", "data/totals.parquet", "who", "moment", "created", ("gb",), timedelta(0), period)
    with connect(snapshot, snapshot.parent / "spill") as connection:
        view_rows.define(connection, repo, view)
        return connection.sql("SELECT who, moment::TIMESTAMP, created, gb FROM _answer ORDER BY ALL").fetchall()


def snapshot_of(folder: Path, usage: Sequence[tuple[Any, ...]], **others: tuple[datetime, datetime]) -> Path:
    """Write the usage (who, used_at, known_at, gb) as ingestion would; of other tables, the times only."""
    folder.mkdir(parents=True, exist_ok=True)
    columns = list(zip(*usage, strict=True)) or [()] * len(USED)
    arrays = {name: pa.array(column, kind) for (name, kind), column in zip(USED, columns, strict=True)}
    pq.write_table(pa.table(arrays), folder / "usage.parquet")
    times = [row[1].isoformat() for row in usage]
    ends = (min(times), max(times)) if times else None
    table = {"rows": len(usage), "columns": {}, "content_hash": "c" * 64, "time_range": ends}
    beside = {
        name: table | {"time_range": tuple(moment.isoformat() for moment in ends)} for name, ends in others.items()
    }
    documents.snapshot(tables={"usage": table} | beside).write(folder)
    return folder


moments = st.datetimes(datetime(1969, 12, 20), datetime(1970, 1, 10))
usage_rows = st.lists(st.tuples(st.sampled_from("abc"), moments, moments, st.integers(0, 9).map(float)), min_size=1)


@pytest.fixture(scope="module")
def numbered_folders(tmp_path_factory: pytest.TempPathFactory):
    root = tmp_path_factory.mktemp("periods")
    return (root / str(number) for number in itertools.count())


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(usage_rows, st.sampled_from(PERIODS))
def test_by_period_equals_from_scratch(numbered_folders, usage, period):
    snapshot = snapshot_of(next(numbered_folders) / "snapshot", usage)

    assert rows_of(snapshot, FROM_SCRATCH.format(period), None) == rows_of(snapshot, BY_PERIOD, period)


def test_a_period_that_has_not_ended_has_no_rows_yet(tmp_path: Path):
    usage = [("a", day(1.5), day(1.5), 1.0), ("a", day(2.5), day(2.5), 2.0), ("b", day(2.75), day(2.75), 4.0)]

    rows = rows_of(snapshot_of(tmp_path / "snapshot", usage), BY_PERIOD, "1 day")

    assert rows == [("a", day(2), day(1.5), 1.0)]


def test_other_tables_end_no_period_of_those_that_the_sql_reads(tmp_path: Path):
    usage = [("a", day(1.5), day(1.5), 1.0), ("a", day(2.5), day(2.5), 2.0)]
    snapshot = snapshot_of(tmp_path / "snapshot", usage, labels=(day(-400), day(40)))

    assert rows_of(snapshot, f"{BY_PERIOD} -- by day", "1 day") == [("a", day(2), day(1.5), 1.0)]


def test_one_time_that_is_far_away_does_not_make_countless_queries(tmp_path: Path):
    usage = [("a", datetime(1900, 1, 1), day(1), 1.0), ("a", day(2), day(2), 2.0)]

    with pytest.raises(InputError, match=r"would run 4\d,\d{3} times, once per '1 day' from 1900-01-01"):
        rows_of(snapshot_of(tmp_path / "snapshot", usage), BY_PERIOD, "1 day")


def test_a_feature_of_a_period_that_has_not_ended_is_named_as_such(tmp_path: Path):
    tables = {
        "examples": pa.table({"who": ["a", "b"], "moment": [day(4), day(5)], "label": [0, 1]}),
        "usage": pa.table({"who": ["a"], "used_at": [day(1.5)], "known_at": [day(1.5)], "gb": [1.0]}),
    }
    view = View("totals", BY_PERIOD, ["gb"], created="created", period="1 year")

    with pytest.raises(InputError, match=r"because no period of '1 year' of .* is complete yet"):
        Tiny(tmp_path, tables, [view]).retrieve()


def test_a_value_is_used_from_the_time_it_became_known(tmp_path: Path):
    usage = [("a", day(1.5), day(6), 1.0), ("b", day(1.5), day(1.5), 2.0), ("b", day(9), day(9), 3.0)]
    asked = [("a", day(4)), ("a", day(7)), ("b", day(1.9)), ("b", day(4))]
    examples = {"who": [who for who, _ in asked], "moment": [at for _, at in asked], "label": [0, 1, 0, 1]}
    columns = dict(zip((name for name, _ in USED), zip(*usage, strict=True), strict=True))
    tables = {
        "examples": pa.table(examples),
        "usage": pa.table({name: list(values) for name, values in columns.items()}),
    }
    view = View("totals", BY_PERIOD, ["gb"], created="created", period="1 day")

    rows = Tiny(tmp_path, tables, [view]).retrieve()

    values = dict(
        zip(zip(rows["who"].to_pylist(), rows["moment"].to_pylist(), strict=True), rows["gb"].to_pylist(), strict=True)
    )
    assert [values[example] for example in asked] == [None, 1.0, None, 2.0]


@pytest.mark.parametrize("period", ["a month", "0 days", "-1 day", ""])
def test_a_period_that_is_no_positive_interval_is_refused(tmp_path: Path, period: str):
    snapshot = snapshot_of(tmp_path / "snapshot", [("a", day(1), day(1), 1.0)])

    with pytest.raises(
        InputError, match=f"the period of feature_repo/sql/totals.sql is '{period}'; expected an interval"
    ):
        rows_of(snapshot, BY_PERIOD, period)


def test_sql_without_the_bounds_is_refused(tmp_path: Path):
    snapshot = snapshot_of(tmp_path / "snapshot", [("a", day(1), day(1), 1.0)])

    with pytest.raises(
        InputError, match=r"totals\.sql does not use \$end and \$start, although the view has the period '1 day'"
    ):
        rows_of(snapshot, FROM_SCRATCH.format("1 day"), "1 day")


def test_tables_without_times_are_refused(tmp_path: Path):
    with pytest.raises(InputError, match="runs by period, but no table that it reads has a time"):
        rows_of(snapshot_of(tmp_path / "snapshot", []), BY_PERIOD, "1 day")


def test_bounds_without_a_period_are_refused(tmp_path: Path):
    snapshot = snapshot_of(tmp_path / "snapshot", [("a", day(1), day(1) + timedelta(1), 1.0)])

    with pytest.raises(InputError, match="takes the bounds of a period, but the view has no tag 'period'"):
        rows_of(snapshot, BY_PERIOD, None)
