"""An example sees what was known at its time, the newest of it, and nothing else; no example is lost."""

from datetime import timedelta

import duckdb
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from components.feature_retrieval import logic
from components.shared.features import snapshot
from tests.components.feature_retrieval.tiny_project import Tiny, View, day

MINUTE = 1 / 1440
READINGS = "SELECT who, moment, created, value FROM readings"

# who, moment, label -> the value that a careful person would write down by hand.
BY_HAND = [
    ("early", day(1), 0, None, "nothing was known yet"),
    ("plain", day(10), 1, 2.0, "the newest reading before the example"),
    ("exact", day(10), 0, 5.0, "a reading at the very moment counts"),
    ("future", day(10), 1, 1.0, "a reading one minute later does not"),
    ("late", day(10), 0, 1.0, "the newest reading was created after the example"),
    ("late", day(12), 1, 9.0, "two days later it was known"),
    ("corrected", day(10), 0, 4.0, "of two readings of one time the one created last counts"),
    ("corrected", day(8), 1, 3.0, "the correction was not known then"),
    ("edge", day(35), 0, 7.0, "exactly as old as the time to live"),
    ("edge", day(35 + MINUTE), 1, None, "older than the time to live"),
    ("stranger", day(10), 0, None, "no reading at all"),
    ("twice", day(10), 1, 6.0, "the same example"),
    ("twice", day(10), 1, 6.0, "and again: a row of its own"),
]
ROWS = [  # who, moment, created, value
    ("early", day(2), day(2), 1.0),
    ("plain", day(3), day(3), 1.0),
    ("plain", day(9), day(9), 2.0),
    ("plain", day(11), day(11), 3.0),
    ("exact", day(10), day(10), 5.0),
    ("future", day(4), day(4), 1.0),
    ("future", day(10 + MINUTE), day(10 + MINUTE), 2.0),
    ("late", day(4), day(4), 1.0),
    ("late", day(9), day(11), 9.0),
    ("corrected", day(5), day(5), 3.0),
    ("corrected", day(5), day(9), 4.0),
    ("edge", day(5), day(5), 7.0),
    ("twice", day(5), day(5), 6.0),
]

NAIVE = {
    "the newest reading, whenever": """
        SELECT who, examples.moment, value
        FROM examples LEFT JOIN (SELECT who, arg_max(value, moment) AS value FROM readings GROUP BY who) USING (who)""",
    "the newest before the example, whenever it was created": """
        SELECT examples.who, examples.moment, value
        FROM examples ASOF LEFT JOIN readings ON readings.who = examples.who AND readings.moment <= examples.moment""",
}


def table(rows, names, kinds):
    """Make an Arrow table of rows."""
    columns = list(zip(*rows, strict=True)) if rows else [[] for _ in names]
    return pa.table(
        {name: pa.array(list(values), kind) for name, values, kind in zip(names, columns, kinds, strict=True)}
    )


def examples_of(rows):
    """Make the label's source."""
    return table([row[:3] for row in rows], ["who", "moment", "label"], [pa.string(), pa.timestamp("us"), pa.int64()])


def readings_of(rows):
    """Make the source of the feature."""
    kinds = [pa.string(), pa.timestamp("us"), pa.timestamp("us"), pa.float64()]
    return table(rows, ["who", "moment", "created", "value"], kinds)


def differences(answer: pa.Table) -> list[str]:
    """Say where an answer (who, moment, value) is not what was written down by hand."""
    expected = sorted(((who, at, value, why) for who, at, _, value, why in BY_HAND), key=lambda row: (row[1], row[0]))
    rows = sorted(
        zip(*(answer[c].to_pylist() for c in ("who", "moment", "value")), strict=True), key=lambda r: (r[1], r[0])
    )
    if len(rows) != len(expected):
        return [f"{len(rows)} rows for {len(expected)} examples"]
    return [why for row, (*wanted, why) in zip(rows, expected, strict=True) if list(row) != wanted]


@pytest.fixture(scope="module")
def by_hand(tmp_path_factory):
    """The hand-made case, retrieved."""
    tables = {"examples": examples_of(BY_HAND), "readings": readings_of(ROWS)}
    view = View("readings", READINGS, ["value"], created="created", ttl_days=30)
    tiny = Tiny(tmp_path_factory.mktemp("by_hand"), tables, [view])
    return tiny.retrieve(), tiny


def test_every_example_has_the_value_that_was_written_down_by_hand(by_hand):
    assert differences(by_hand[0]) == []


@pytest.mark.parametrize("how", NAIVE)
def test_a_naive_join_fails_the_same_test(how):
    with duckdb.connect() as connection:
        connection.register("examples", examples_of(BY_HAND))
        connection.register("readings", readings_of(ROWS))
        wrong = differences(connection.sql(NAIVE[how]).to_arrow_table())

    assert "the newest reading was created after the example" in wrong


def test_rows_come_in_the_order_of_time_and_entity_with_their_labels_beside(by_hand):
    rows, tiny = by_hand
    expected = sorted((at, who, label) for who, at, label, *_ in BY_HAND)

    assert (
        list(zip(rows["moment"].to_pylist(), rows["who"].to_pylist(), rows["label"].to_pylist(), strict=True))
        == expected
    )
    assert tiny.summary().rows == len(BY_HAND)
    assert tiny.summary().duplicates == 1


def test_a_feature_that_knows_the_future_is_worthless_in_the_training_set_and_perfect_in_a_naive_join(tmp_path):
    examples = [(f"c{number:02d}", day(10 + number % 5), number % 2) for number in range(40)]
    leaked = [(who, at + timedelta(days=3), at + timedelta(days=3), float(label)) for who, at, label in examples]
    # A feature that no row has would be refused.
    known = ("known", day(1), 0)
    tables = {
        "examples": examples_of([known, *examples]),
        "readings": readings_of([("known", day(1), day(1), 0.0), *leaked]),
    }
    rows = Tiny(tmp_path, tables, [View("readings", READINGS, ["value"], created="created")]).retrieve()
    with duckdb.connect() as connection:
        for name, content in tables.items():
            connection.register(name, content)
        naive = connection.sql("SELECT label, value FROM examples JOIN readings USING (who)").to_arrow_table()

    def knows(answer: pa.Table) -> bool:
        return answer["value"].to_pylist() == [float(label) for label in answer["label"].to_pylist()]

    assert rows["value"].null_count == len(rows) - 1 == 40
    assert not knows(rows)
    assert knows(naive)


def test_rows_that_tie_in_all_times_are_settled_the_same_way_in_any_order_and_counted(tmp_path):
    examples = examples_of([("a", day(10), 0), ("b", day(10), 1)])
    ties = [
        ("a", day(5), day(5), 1.0),
        ("a", day(5), day(5), 3.0),
        ("a", day(5), day(5), 2.0),
        ("b", day(5), day(5), 8.0),
    ]
    for number, order in enumerate((ties, ties[::-1])):
        tiny = Tiny(
            tmp_path / str(number),
            {"examples": examples, "readings": readings_of(order)},
            [View("readings", READINGS, ["value"], created="created")],
        )

        assert tiny.retrieve()["value"].to_pylist() == [3.0, 8.0]
        assert tiny.summary().ties == {"readings": 2}


def test_a_table_without_entity_and_time_keeps_each_row_with_its_own_features(tmp_path):
    count = 30
    content = pa.table(
        {
            "row_id": pa.array(range(count), pa.int64()),
            "moment": pa.array([day(1)] * count, pa.timestamp("us")),
            "label": ["yes", "no", "no"] * 10,
            "size": [float(number) for number in range(count)],
        }
    )
    view = View("everything", "SELECT * FROM examples", ["size"], time="moment")
    rows = Tiny(tmp_path, {"examples": content}, [view], entity="row_id", time="moment").retrieve()

    assert rows["size"].to_pylist() == [float(number) for number in rows["row_id"].to_pylist()]
    assert sorted(rows["row_id"].to_pylist()) == list(range(count))


def test_equal_content_in_another_order_gives_equal_bytes(tmp_path, by_hand):
    tables = {"examples": examples_of(BY_HAND[::-1]), "readings": readings_of(ROWS[::-1])}
    view = View("readings", READINGS, ["value"], created="created", ttl_days=30)
    again = Tiny(tmp_path, tables, [view])
    again.retrieve()

    first = by_hand[1].root / "training_set" / "rows.parquet"
    assert (again.root / "training_set" / "rows.parquet").read_bytes() == first.read_bytes()


def careful(examples, readings, ttl_days):
    """Join by going through everything, row by row."""
    answer = []
    for who, at, _ in examples:
        seen = [
            (then, created, value)
            for other, then, created, value in readings
            if other == who and then <= at and created <= at and at <= then + timedelta(days=ttl_days)
        ]
        answer.append(max(seen)[2] if seen else None)
    return answer


moments = st.integers(1, 12).map(day)
names = st.sampled_from("abc")


@pytest.fixture(scope="module")
def random_root(tmp_path_factory):
    """One folder for all random cases."""
    return tmp_path_factory.mktemp("random")


@settings(max_examples=12, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(
    examples=st.lists(st.tuples(names, moments), min_size=2, max_size=25, unique=True),
    readings=st.lists(st.tuples(names, moments, moments, st.integers(0, 99).map(float)), max_size=40),
)
def test_the_join_agrees_with_going_through_everything(random_root, examples, readings):
    # A feature that no row has would be refused: one row always has it.
    examples, readings = [*examples, ("known", day(1))], [*readings, ("known", day(1), day(1), 5.0)]
    labelled = [(who, at, number % 2) for number, (who, at) in enumerate(sorted(examples, key=lambda e: (e[1], e[0])))]
    tiny = Tiny(
        random_root,
        {"examples": examples_of(labelled), "readings": readings_of(readings)},
        [View("readings", READINGS, ["value"], created="created", ttl_days=4)],
    )

    assert tiny.retrieve()["value"].to_pylist() == careful(labelled, readings, ttl_days=4)


def test_the_clock_of_a_run_is_the_newest_time_of_any_table(tmp_path):
    tables = {"examples": examples_of([("a", day(3), 0)]), "readings": readings_of([("a", day(8), day(8), 1.0)])}

    assert snapshot.clock(Tiny(tmp_path, tables, []).snapshot()) == day(8)


def test_examples_that_are_joined_in_parts_get_the_same_rows(tmp_path, monkeypatch):
    examples = pa.table(
        {
            "who": [f"e{n % 4}" for n in range(30)],
            "moment": [day(n % 11 + 1) for n in range(30)],
            "label": [n % 4 % 2 for n in range(30)],
        }
    )
    usage = pa.table(
        {
            "who": [f"e{n % 3}" for n in range(40)],
            "moment": [day(n % 9) for n in range(40)],
            "made": [day(n % 13) for n in range(40)],
            "value": [None if n % 5 == 0 else float(n) for n in range(40)],
        }
    )
    view = View("usage", "SELECT * FROM usage", ["value"], created="made", ttl_days=5)
    whole = Tiny(tmp_path / "whole", {"examples": examples, "usage": usage}, [view])
    expected = whole.retrieve()
    monkeypatch.setattr(logic, "JOINED_ROWS", 7)
    parts = Tiny(tmp_path / "parts", {"examples": examples, "usage": usage}, [view])

    assert parts.retrieve().equals(expected)
    assert parts.summary() == whole.summary()
