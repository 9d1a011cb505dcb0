"""Each logged row is in exactly one window, with the label that is known of it by now; only due rows are measured."""

import itertools
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.log_window import logic
from components.log_window.logic import Span
from components.shared import label_store
from components.shared.documents.monitoring import LogWindow
from components.shared.errors import InputError
from components.shared.inference_log.segments import LoggedFeature, SegmentHeader
from components.shared.project import Evaluation
from tests.components import made_log
from tests.components.made_log import FIRST, add_labels, request, write


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    return tmp_path / "labels"


def days(start: float | None = None, end: float | None = None) -> Span:
    return Span(*(None if day is None else FIRST + timedelta(days=day) for day in (start, end)))


def taken(log: Path, labels: Path, span: Span | None = None, **project: Any) -> LogWindow:
    return logic.take(made_log.project(**project), log, labels, span or days(start=-1), log.parent / "window")


def rows(log: Path, file: str = "rows.parquet") -> dict[tuple[str, int], dict[str, Any]]:
    table = pq.read_table(log.parent / "window" / file)
    return {(row["request_id"], row["row"]): row for row in table.to_pylist()}


def test_a_window_begins_after_its_start_and_includes_its_end(log, labels):
    write(log, [request(f"r{day}", day) for day in range(6)])

    window = taken(log, labels, days(1, 4))

    assert sorted(rows(log)) == [("r2", 0), ("r3", 0), ("r4", 0)]
    assert (window.rows, window.requests, window.releases) == (3, 3, {"1": 3})
    assert (window.start, window.end) == ("2026-01-02T00:00:00+00:00", "2026-01-05T00:00:00+00:00")


def test_without_limits_the_window_is_as_long_as_the_project_says_up_to_the_newest_row(log, labels):
    write(log, [request(f"r{day}", day) for day in range(10)])

    window = taken(log, labels, Span(), window_days=3)

    assert sorted(rows(log)) == [("r7", 0), ("r8", 0), ("r9", 0)]
    assert window.end == "2026-01-10T00:00:00+00:00"


def test_a_row_belongs_to_the_time_of_its_event(log, labels):
    write(log, [request("replayed", 50, event_day=2), request("live", 2)])

    taken(log, labels, days(1, 3))

    assert sorted(rows(log)) == [("live", 0), ("replayed", 0)]


def test_a_row_of_the_future_is_counted_and_left_out(log, labels):
    write(
        log,
        [
            request("wrong clock", 2, event_day=4),
            request("late batch", 4, event_day=2),
            request("tomorrow", 2.1, event_day=3),
        ],
    )

    window = taken(log, labels)

    assert window.from_the_future == 1
    assert sorted(rows(log)) == [("late batch", 0), ("tomorrow", 0)]


def test_the_tests_of_a_release_and_other_models_are_no_traffic(log, labels):
    write(log, [request("perennial-probe-7", 1), request("real", 1)])
    other = SegmentHeader("other", "1", made_log.HEADER.features, made_log.HEADER.encoded)
    write(log, [request("of another model", 1)], other, sequence=2)

    taken(log, labels)

    assert sorted(rows(log)) == [("real", 0)]


def test_what_a_shadow_scored_is_no_traffic(log, labels):
    write(log, [request("both", 1)])
    shadow = SegmentHeader("made", "2", made_log.HEADER.features, made_log.HEADER.encoded)
    write(log, [request("both", 1, shadow=True)], shadow, sequence=2)

    window = taken(log, labels)

    assert (window.rows, window.releases, window.release) == (1, {"1": 1}, "1")


def test_features_are_those_that_the_requests_carried_whichever_release_answered(log, labels):
    write(log, [request("old", 1, usage=[2.5], plan=["plus"])])
    newer = SegmentHeader("made", "2", (LoggedFeature("usage", "numeric"), LoggedFeature("age", "numeric")), ("usage",))
    write(log, [request("new", 2) | {"received": {"usage": [None], "age": [40.0]}}], newer, sequence=2)

    window = taken(log, labels)

    old, new = rows(log)[("old", 0)], rows(log)[("new", 0)]
    assert (old["received.usage"], old["received.plan"], old["received.age"]) == (2.5, "plus", None)
    assert (new["received.usage"], new["received.plan"], new["received.age"]) == (None, None, 40.0)
    assert (window.releases, window.release) == ({"1": 1, "2": 1}, "2")


def test_a_label_by_request_id_is_that_of_its_row_or_of_all_rows(log, labels):
    write(log, [request("a", 1, rows=2), request("b", 1, rows=2), request("c", 1)])
    add_labels(labels, [{"request_id": "a", "label": "yes"}, {"request_id": "b", "row": 1, "label": "no"}])

    taken(log, labels)

    assert {key: row["label"] for key, row in rows(log).items()} == {
        ("a", 0): "yes", ("a", 1): "yes", ("b", 0): None, ("b", 1): "no", ("c", 0): None
    }  # fmt: skip


def test_a_label_by_entity_belongs_to_the_row_of_its_time_or_to_the_last_one_before(log, labels):
    write(log, [
        request("exact", 1, entity=["x"]), request("before", 3, entity=["x"]), request("after", 5, entity=["x"]),
        request("other", 3, entity=["y"]), request("nobody", 3),
    ])  # fmt: skip
    add_labels(labels, [{"entity": "x", "day": 1, "label": "no"}, {"entity": "x", "day": 4, "label": "yes"}])

    window = taken(log, labels, delay_days=2)

    assert {key[0]: row["label"] for key, row in rows(log).items()} == {
        "exact": "no", "before": "yes", "after": None, "other": None, "nobody": None
    }  # fmt: skip
    assert (window.labels.known, window.labels.joined) == (2, 2)


def test_a_label_by_entity_alone_belongs_to_its_newest_row(log, labels):
    write(log, [request("old", 1, entity=["x"]), request("new", 3, entity=["x"]), request("other", 5, entity=["y"])])
    add_labels(labels, [{"entity": "x", "label": "yes"}, {"entity": "z", "label": "no"}])

    window = taken(log, labels)

    assert {key[0]: row["label"] for key, row in rows(log).items()} == {"old": None, "new": "yes", "other": None}
    assert (window.labels.known, window.labels.joined, window.labels.early) == (2, 1, 0)


def test_a_label_before_the_first_prediction_or_long_after_the_last_belongs_to_none(log, labels):
    write(log, [request("only", 10, entity=["x"]), request("clock", 60)])
    add_labels(labels, [{"entity": "x", "day": 9, "label": "no"}, {"entity": "x", "day": 40, "label": "yes"}])

    window = taken(log, labels, delay_days=5)

    assert rows(log)[("only", 0)]["label"] is None
    assert (window.labels.known, window.labels.joined, window.labels.early) == (2, 0, 1)


def test_a_revised_label_counts_as_it_was_added_last(log, labels):
    write(log, [request("a", 1), request("b", 1)])
    add_labels(labels, [{"request_id": "a", "label": "yes"}, {"request_id": "b", "label": "no"}], added_on=10)
    add_labels(labels, [{"request_id": "a", "label": "no"}], added_on=20)

    window = taken(log, labels)

    assert [rows(log)[(name, 0)]["label"] for name in "ab"] == ["no", "no"]
    assert (window.labels.known, window.labels.revised) == (2, 1)


def test_the_same_labels_added_again_change_nothing_and_an_earlier_value_can_return(log, labels):
    write(log, [request("a", 1)])
    yes, no = [{"request_id": "a", "label": "yes"}], [{"request_id": "a", "label": "no"}]

    assert add_labels(labels, yes, added_on=10).is_new
    assert not add_labels(labels, yes, added_on=11).is_new
    assert add_labels(labels, no, added_on=12).is_new and add_labels(labels, yes, added_on=13).is_new
    taken(log, labels)
    assert rows(log)[("a", 0)]["label"] == "yes"


def test_the_labels_of_an_entity_are_removed_by_its_name_and_by_its_rows(log, labels):
    add_labels(labels, [
        {"entity": "x", "day": 1, "label": "yes"}, {"entity": "y", "day": 1, "label": "yes"},
        {"request_id": "a", "label": "yes"}, {"request_id": "b", "row": 0, "label": "yes"},
        {"request_id": "b", "row": 1, "label": "yes"}, {"request_id": "c", "label": "yes"},
    ])  # fmt: skip

    removed = label_store.forget(labels, ["x"], {("a", 0), ("b", 1)})

    left = pq.read_table(next(labels.glob("*.parquet"))).to_pylist()
    assert removed == 3
    assert [(row["entity"], row["request_id"], row["row"]) for row in left] == [
        ("y", None, None), (None, "b", 0), (None, "c", None)
    ]  # fmt: skip
    assert label_store.forget(labels, ["x"], set()) == 0


def test_only_rows_older_than_the_delay_are_measured_whatever_label_the_young_have(log, labels):
    write(log, [request(f"r{day}", day) for day in range(10)])
    add_labels(labels, [{"request_id": f"r{day}", "label": "yes"} for day in (2, 8, 9)])

    window = taken(log, labels, delay_days=4)

    history = rows(log, "history.parquet")
    assert sorted(history) == [(f"r{day}", 0) for day in range(6)]
    assert [key[0] for key, row in history.items() if row["label"]] == ["r2"]
    assert (window.due, window.due_labeled, window.young_labeled) == (6, 1, 2)


def test_a_label_that_is_known_later_moves_the_clock(log, labels):
    write(log, [request("r0", 0), request("r1", 1)])
    add_labels(labels, [{"request_id": "r0", "label": "no", "known_day": 31}])

    window = taken(log, labels, delay_days=30)

    assert (window.due_until, window.due) == ("2026-01-02T00:00:00+00:00", 2)


def test_what_became_known_since_a_release_first_answered_is_counted_whichever_release_it_judges(log, labels):
    write(log, [request("old", 1), request("late", 2)])
    newer = SegmentHeader("made", "2", made_log.HEADER.features, ("usage",))
    write(log, [request("new", 10), request("newest", 12)], newer, sequence=2)
    known = {"old": 5, "late": 20, "new": 40}
    add_labels(labels, [{"request_id": name, "label": "no", "known_day": day} for name, day in known.items()])

    window = taken(log, labels)

    assert (window.release, window.answering_since) == ("2", "2026-01-11T00:00:00+00:00")
    assert window.new_labels == 2


def test_a_row_that_is_scored_late_does_not_make_a_release_older(log, labels):
    late = request("late", 20) | {"event_time_us": int((FIRST - timedelta(days=60)).timestamp() * 1e6)}
    write(log, [late, request("now", 21)])

    assert taken(log, labels, days(start=-100)).answering_since == "2026-01-22T00:00:00+00:00"


def test_requests_that_took_longer_than_promised_are_counted_by_the_day_of_the_server(log, labels):
    """A request counts once however many rows it has, and an answer to an old event on the day of the answer."""
    slow = {"latency_us": 100_001.0}
    write(
        log,
        [
            request("fast", 0.1, latency_us=100_000.0), request("large", 0.2, rows=3, **slow),
            request("replayed", 2, event_day=0.3, **slow), request("later", 5, **slow),
        ],
    )  # fmt: skip

    window = taken(log, labels, days(-1, 4))

    assert [(day.day, day.requests, day.slow) for day in window.latency] == [("2026-01-01", 2, 1), ("2026-01-03", 1, 1)]
    assert "latency_us" not in next(iter(rows(log).values()))
    assert taken(log, labels, days(-1, 4), slo={"latency_ms": 200}).latency[0].slow == 0


def test_the_history_is_that_of_the_release_that_answers(log, labels):
    write(log, [request("old", 1)])
    write(log, [request("new", 2)], SegmentHeader("made", "2", made_log.HEADER.features, ("usage",)), sequence=2)

    taken(log, labels)

    assert sorted(rows(log, "history.parquet")) == [("new", 0)]


def test_the_history_has_the_features_by_which_the_evaluation_slices(log, labels):
    write(log, [request("r0", 0)])
    sliced = made_log.project().model_copy(update={"evaluation": Evaluation(slices=("plan", ("plan", "age")))})

    logic.take(sliced, log, labels, Span(), log.parent / "window")

    names = pq.read_schema(log.parent / "window" / "history.parquet").names
    assert [name for name in names if name.startswith("received.")] == ["received.plan"]


@pytest.mark.parametrize(
    ("reference", "expected"),
    [("test rows", None), ("previous window", {"r368", "r369"}), ("same season", {"r6", "r7"})],
)
def test_the_window_that_the_project_compares_with_is_written(log, labels, reference, expected):
    write(log, [request(f"r{day}", day) for day in (5, 6, 7, 8, 368, 369, 370, 371)])

    taken(log, labels, Span(end=FIRST + timedelta(days=371)), window_days=2, reference=reference, retention_days=400)

    path = log.parent / "window" / "earlier.parquet"
    assert path.exists() == (expected is not None)
    if expected:
        assert {request_id for request_id, _ in rows(log, "earlier.parquet")} == expected


def test_an_empty_log_is_a_window_without_rows(log, labels):
    window = taken(log, labels, Span())

    assert (window.rows, window.due, window.end, window.release) == (0, 0, None, None)
    assert rows(log) == {} == rows(log, "history.parquet")


def test_a_damaged_segment_is_set_aside_with_its_reason_and_the_rest_is_read(log, labels):
    write(log, [request("good", 1)])
    broken = log / "wal" / "00000000000000000001-1-1.jsonl"
    broken.write_bytes(made_log.HEADER.line() + b"{broken\n{}\n")

    window = taken(log, labels)

    assert sorted(rows(log)) == [("good", 0)]
    assert len(window.damaged) == 1 and "is damaged" in window.damaged[0]
    assert broken.with_name(f"{broken.name}.damaged").exists()


def test_a_window_that_ends_before_it_starts_is_refused():
    with pytest.raises(InputError, match="expected an end after the start"):
        Span.parse("2026-02-01", "2026-01-01")
    assert Span.parse("", "") == Span()


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 20), st.booleans()), max_size=12), st.lists(st.integers(0, 21), max_size=3))
def test_consecutive_windows_hold_every_row_once(tmp_path_factory, sent, cuts):
    folder = tmp_path_factory.mktemp("windows")
    log = folder / "log"
    write(log, [request(f"r{n}", 30 if replayed else day, event_day=day) for n, (day, replayed) in enumerate(sent)])
    edges = sorted({-1, *cuts, 40})

    found: list[tuple[str, int]] = []
    for start, end in itertools.pairwise(edges):
        taken(log, folder / "labels", days(start, end))
        found += rows(log)

    # A row whose event is more than a day after its request is of a wrong clock; here none is.
    assert sorted(found) == sorted((f"r{n}", 0) for n in range(len(sent)))
