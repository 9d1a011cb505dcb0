"""No row that trains knows what a later row judges: neither over time, nor over an entity, nor as a copy."""

import random
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from components.shared.documents.feature_views import FeatureViews
from components.shared.errors import InputError
from components.shared.project import Project
from components.split import logic
from tests import documents

START = datetime(2024, 1, 1)
PARTS = logic.PARTS


def project(method: str, task: str = "binary", delay_days: int = 0, **split) -> Project:
    """Make a project that is split by ``method``."""
    return Project.model_validate(
        {
            "name": "tiny",
            "task": task,
            "entity": "who",
            "event_time": "moment",
            "sources": {"rows": {"path": "rows.parquet"}},
            "label": {"source": "rows", "column": "label", "delay_days": delay_days},
            "features": {"service": "s", "columns": {"size": {"type": "numeric"}}},
            "split": {"method": method, **split},
        }
    )


def training_set(folder, rows):
    """Write rows (who, day, label) as retrieval does."""
    who, day, label = (list(column) for column in zip(*rows, strict=True))
    moments = pa.array([START + timedelta(days=d) for d in day], pa.timestamp("us"))
    folder.mkdir(parents=True, exist_ok=True)
    table = pa.table({"who": who, "moment": moments, "label": label, "size": [float(n) for n in range(len(who))]})
    pq.write_table(table, folder / "rows.parquet")
    return folder


def monthly(customers=60, months=10):
    """Make one row per customer and month; three in ten leave."""
    return [(f"c{n:03d}", 30 * m + n % 28, int((n + m) % 10 < 3)) for m in range(months) for n in range(customers)]


def divide(tmp_path, what, rows, seed=7):
    """Split rows and return the parts with what was said about them."""
    summary = logic.divide(what, training_set(tmp_path / "training_set", rows), tmp_path / "splits", seed)
    return {name: pq.read_table(tmp_path / "splits" / f"{name}.parquet") for name in PARTS}, summary


def leaks(parts, gap_days=None, entity=False):
    """Say what a part knows about a later one."""
    found = []
    for number, early in enumerate(PARTS):
        for late in PARTS[number + 1 :]:
            if gap_days is not None:
                known = max(parts[early]["moment"].to_pylist()) + timedelta(days=gap_days)
                if known > min(parts[late]["moment"].to_pylist()):
                    found.append(f"labels of {early} came to be known after {late} begins")
            keys = ["who"] if entity else ["who", "moment"]
            one, other = ({tuple(row.values()) for row in parts[p].select(keys).to_pylist()} for p in (early, late))
            if one & other:
                found.append(f"{early} and {late} share {keys}")
    return found


def test_by_time_every_label_is_known_before_the_next_part_begins(tmp_path):
    parts, summary = divide(tmp_path, project("time", delay_days=30), monthly())

    assert leaks(parts, gap_days=30) == []
    assert summary.rows.left_out > 0
    assert sum(summary.rows.model_dump().values()) == len(monthly())


def test_by_hash_no_entity_is_in_two_parts(tmp_path):
    parts, summary = divide(tmp_path, project("hash"), monthly(customers=200, months=4))

    assert leaks(parts, entity=True) == []
    assert summary.rows.left_out == 0


def test_a_split_by_row_leaks_entity_and_future_by_the_same_measure(tmp_path):
    rows = training_set(tmp_path, monthly())
    table = pq.read_table(rows / "rows.parquet")
    order = list(range(len(table)))
    random.Random(7).shuffle(order)
    parts = {name: table.take(order[n::3]) for n, name in enumerate(PARTS)}

    assert len(leaks(parts, gap_days=30, entity=True)) == 6


def test_shares_are_those_of_the_project(tmp_path):
    rows = monthly(customers=400, months=5)
    for method, tolerance in (("time", 0.06), ("hash", 0.06), ("random", 0.002)):
        _, summary = divide(tmp_path / method, project(method, test=0.3, validation=0.1), rows)

        assert summary.rows.test / len(rows) == pytest.approx(0.3, abs=tolerance)
        assert summary.rows.validation / len(rows) == pytest.approx(0.1, abs=tolerance)


def test_random_gives_each_class_the_same_shares(tmp_path):
    rows = [(f"c{n}", 0, n % 10 == 0) for n in range(1000)]
    parts, _ = divide(tmp_path, project("random", test=0.2, validation=0.1), rows)

    assert [sum(parts[name]["label"].to_pylist()) for name in PARTS] == [70, 10, 20]


def test_only_random_depends_on_the_seed(tmp_path):
    for method, depends in (("time", False), ("hash", False), ("random", True)):
        hashes = {
            divide(tmp_path / f"{method}{seed}", project(method), monthly(), seed)[1].content_hash for seed in (1, 2)
        }

        assert (len(hashes) == 2) == depends, method


@pytest.mark.parametrize("method", ["time", "hash", "random"])
def test_equal_rows_give_equal_bytes_and_another_order_the_same_parts(tmp_path, method):
    rows = monthly()
    first, said = divide(tmp_path / "first", project(method), rows)
    _, again = divide(tmp_path / "again", project(method), rows)
    other, _ = divide(tmp_path / "other", project(method), rows[::-1])

    assert said == again
    for name in PARTS:
        keys = [[tuple(row.values()) for row in p[name].select(["who", "moment"]).to_pylist()] for p in (first, other)]
        assert keys[0] == keys[1][::-1]


def test_an_entity_keeps_its_part_when_rows_are_added(tmp_path):
    few, _ = divide(tmp_path / "few", project("hash"), monthly(customers=150, months=2))
    many, _ = divide(tmp_path / "many", project("hash"), monthly(customers=300, months=5))

    for name in PARTS:
        assert set(few[name]["who"].to_pylist()) <= set(many[name]["who"].to_pylist())


def test_the_gap_is_the_labels_delay_unless_the_project_names_one(tmp_path):
    gaps = [
        divide(tmp_path / str(n), what, monthly())[1].gap_days
        for n, what in enumerate((project("time", delay_days=9), project("time", delay_days=9, gap_days=0)))
    ]

    assert gaps == [9, 0]


@settings(max_examples=25, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(
    rows=st.lists(
        st.tuples(st.sampled_from([f"c{n}" for n in range(40)]), st.integers(0, 200), st.integers(0, 1)),
        min_size=100,
        max_size=250,
    ),
    method=st.sampled_from(["time", "hash", "random"]),
    delay=st.integers(0, 20),
)
def test_any_rows_are_split_without_a_leak_or_refused(tmp_path_factory, rows, method, delay):
    labels = {}
    rows = [(who, day, labels.setdefault((who, day), label)) for who, day, label in rows]
    try:
        parts, summary = divide(tmp_path_factory.mktemp("case"), project(method, delay_days=delay), rows)
    except InputError:
        return

    assert leaks(parts, gap_days=delay if method == "time" else None, entity=method == "hash") == []
    assert sum(summary.rows.model_dump().values()) == len(rows)
    assert all(len(part) >= logic.MIN_ROWS and len(set(part["label"].to_pylist())) == 2 for part in parts.values())


@pytest.mark.parametrize(
    ("what", "rows", "message"),
    [
        (
            project("time"),
            [(f"c{n}", 0, n % 2) for n in range(99)],
            "all rows have the event time .*split.method to hash",
        ),
        (project("random"), [(f"c{n}", n, n % 2) for n in range(30)], "part has [0-9] of 30 rows"),
        (project("time", gap_days=200), monthly(), "the .* part has 0 of 600 rows .* lower split.gap_days"),
        (
            project("time"),
            [(f"c{n}", n, int(n < 500)) for n in range(999)],
            "has only the label 0.*split.method to random",
        ),
        (project("random", test=0.6, validation=0.5), monthly(), "leave no rows for training"),
    ],
)
def test_what_cannot_be_split_is_refused_with_what_to_do(tmp_path, what, rows, message):
    with pytest.raises(InputError, match=message) as caught:
        divide(tmp_path, what, rows)

    assert "\n" not in str(caught.value)
    assert not (tmp_path / "splits").exists()


def test_a_regression_is_not_asked_for_classes(tmp_path):
    rows = [(f"c{n}", n, 1.0 + n / 7) for n in range(200)]

    for method in ("time", "hash", "random"):
        assert sum(divide(tmp_path / method, project(method, "regression"), rows)[1].rows.model_dump().values()) == 200


def test_numbers_as_entities_hash_as_well(tmp_path):
    parts, _ = divide(tmp_path, project("hash"), [(n % 300, n, n % 2) for n in range(901)])

    assert leaks(parts, entity=True) == []


def test_the_summary_counts_the_test_rows_that_repeat_a_training_row(tmp_path):
    rows = monthly()
    training_set(tmp_path / "training_set", rows)
    table = pq.read_table(tmp_path / "training_set" / "rows.parquet")
    # The sizes of the last 120 rows, which are tested, are those of the first.
    sizes = [float(n if n < 480 else n - 480) for n in range(600)]
    table = table.set_column(table.column_names.index("size"), "size", pa.array(sizes))
    pq.write_table(table, tmp_path / "training_set" / "rows.parquet")
    summary = logic.divide(project("time"), tmp_path / "training_set", tmp_path / "splits")
    train, test = (pq.read_table(tmp_path / "splits" / f"{name}.parquet").to_pylist() for name in ("train", "test"))
    trained = {(row["size"], row["label"]) for row in train}

    assert summary.repeated_test_rows == sum((row["size"], row["label"]) in trained for row in test)
    assert 0 < summary.repeated_test_rows < len(test)


def test_a_missing_value_is_repeated_by_a_missing_value(tmp_path):
    training_set(tmp_path / "training_set", monthly())
    table = pq.read_table(tmp_path / "training_set" / "rows.parquet")
    table = table.set_column(table.column_names.index("size"), "size", pa.nulls(600, pa.float64()))
    pq.write_table(table, tmp_path / "training_set" / "rows.parquet")

    summary = logic.divide(project("time"), tmp_path / "training_set", tmp_path / "splits")
    assert summary.repeated_test_rows == summary.rows.test


@pytest.mark.parametrize("method", ["time", "hash", "random"])
def test_only_the_newest_days_are_used_if_the_project_says_so(tmp_path, method):
    rows = monthly()
    newest = max(day for _, day, _ in rows)

    parts, summary = divide(tmp_path, project(method, newest_days=120), rows)

    used = pa.concat_tables(parts.values())["moment"].to_pylist()
    recent = sum(day > newest - 120 for _, day, _ in rows)
    assert min(used) > START + timedelta(days=newest - 120)
    assert len(used) + summary.rows.left_out == len(rows) and len(used) <= recent
    assert all(len(part) >= 10 for part in parts.values())


def test_newer_days_than_there_are_leave_nothing_out(tmp_path):
    everything, _ = divide(tmp_path, project("hash"), monthly())
    as_many, _ = divide(tmp_path, project("hash", newest_days=9999), monthly())

    assert everything == as_many


def test_rows_since_a_change_are_used_once_there_are_enough_of_them(tmp_path):
    rows = monthly()
    newest = max(day for _, day, _ in rows)
    since = (START + timedelta(days=newest - 100)).replace(tzinfo=UTC)
    later = sum(day >= newest - 100 for _, day, _ in rows)

    enough, summary = divide(tmp_path, project("time", gap_days=20, since=since, since_rows=later), rows)
    too_few, other = divide(tmp_path, project("time", gap_days=20, since=since, since_rows=later + 1), rows)

    used = pa.concat_tables(enough.values())["moment"].to_pylist()
    assert min(used) >= since.replace(tzinfo=None) and len(used) == later, "by entity, so no row is lost to a gap"
    assert (summary.method, other.method) == ("hash", "time")
    assert min(pa.concat_tables(too_few.values())["moment"].to_pylist()) < since.replace(tzinfo=None)


def test_a_change_long_ago_leaves_room_for_a_split_by_time(tmp_path):
    since = START.replace(tzinfo=UTC) - timedelta(days=1)

    _, summary = divide(tmp_path, project("time", gap_days=20, since=since, since_rows=10), monthly())

    assert summary.method == "time"


def test_what_is_known_of_the_feature_views_is_handed_on(tmp_path):
    documents.feature_views().write(tmp_path / "training_set")
    divide(tmp_path, project("hash"), monthly())

    assert FeatureViews.read(tmp_path / "splits") == documents.feature_views()
