"""Every logged request is in the compacted log exactly once, whoever was killed."""

import json
import os
import signal
import time
from base64 import b64encode
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from components.shared.errors import StepFailed
from components.shared.inference_log import compaction, forgetting, rows, segments
from components.shared.inference_log.record import LoggedRequest
from components.shared.inference_log.segments import LoggedFeature, SegmentHeader

HEADER = SegmentHeader(
    "churn",
    "3",
    (LoggedFeature("age", "numeric"), LoggedFeature("paperless", "boolean"), LoggedFeature("plan", "categorical")),
    ("age", "paperless"),
)
DAY = 86_400 * 10**9
NOON = 20_000 * DAY + DAY // 2
"""Noon of 2024-10-04."""


def matrix(values: list[list[float]]) -> str:
    return b64encode(np.array(values, "<f4").tobytes()).decode()


def request(number: int, at_ns: int = NOON, count: int = 1, **more: object) -> LoggedRequest:
    content = {
        "id": f"request-{number}",
        "at_ns": at_ns,
        "protocol": "v1",
        "rows": count,
        "latency_us": 120.5,
        "received": {"age": [0.1] * count, "paperless": [True] * count, "plan": ["Prämie"] * count},
        "encoded": matrix([[0.1, 1.0]] * count),
        "score": [0.25] * count,
        **more,
    }
    return content  # type: ignore[return-value]


def write(folder: Path, requests: list[LoggedRequest], sequence: int = 1, header: SegmentHeader = HEADER) -> Path:
    """Write a complete segment."""
    with segments.create(folder, NOON + sequence, sequence) as stream:
        stream.write(header.line())
        for content in requests:
            stream.write(json.dumps(content).encode() + b"\n")
        return Path(stream.name).with_suffix(".jsonl")


def logged(folder: Path, *days: date) -> pa.Table:
    tables = [parquet.read_table(path) for path in compaction.files(folder, *days)]
    return pa.concat_tables(tables, promote_options="default")


def ids(folder: Path) -> list[str]:
    return sorted(logged(folder)["request_id"].to_pylist())


# The rows of a segment.


def test_the_event_times_of_features_that_were_looked_up_are_kept_by_row(tmp_path):
    times = ['{"usage": 1, "support": null}', '{"usage": 2, "support": 3}']
    write(tmp_path, [request(1, count=2, feature_times_us=times), request(2)])
    compaction.compact(tmp_path)

    [path] = compaction.files(tmp_path)
    rows_of_day = parquet.read_table(path, columns=["request_id", "row", "feature_times_us"]).to_pylist()
    assert {(row["request_id"], row["row"]): row["feature_times_us"] for row in rows_of_day} == {
        ("request-1", 0): times[0],
        ("request-1", 1): times[1],
        ("request-2", 0): None,
    }


def test_a_request_becomes_one_row_per_scored_row(tmp_path):
    more = {
        "received": {"age": [40, None], "paperless": [True, False], "plan": ["Prämie", None]},
        "encoded": matrix([[40, 1], [np.nan, 0]]),
        "score": [0.25, 0.5],
        "decision": ["no", "yes"],
        "entity": ["c7", "c8"],
        "unseen": [[], ["plan"]],
        "propensity": [0.02, None],
    }
    table = rows.read(write(tmp_path, [request(1), request(2, count=2, **more)])).table

    assert table.schema == rows.schema(HEADER)
    first, second, third = table.to_pylist()
    assert first["entity"] is first["decision"] is first["unseen"] is first["propensity"] is None
    assert first["received.age"] == 0.1 and first["encoded.age"] == float(np.float32(0.1))
    assert (second["row"], third["row"]) == (0, 1) and second["request_id"] == third["request_id"] == "request-2"
    assert (second["entity"], third["entity"]) == ("c7", "c8")
    assert (second["unseen"], third["unseen"]) == (None, ["plan"])
    assert (third["score"], third["decision"], third["received.plan"], third["encoded.age"]) == (0.5, "yes", None, None)
    assert (second["propensity"], third["propensity"]) == (0.02, None)
    assert second["at"] == datetime(2024, 10, 4, 12, tzinfo=UTC)
    assert second["id_hash"] == third["id_hash"] == rows.id_hash(["request-2"])[0] != first["id_hash"]


def as_matrix(written: LoggedRequest) -> LoggedRequest:
    """Return the same request as the server writes it where it has many rows."""
    received = written["received"]
    numbers = np.array([received["age"], received["paperless"]], "<f8")
    packed = {name: value for name, value in written.items() if name != "encoded"}
    texts = {"plan": received["plan"]}
    return packed | {"received": texts, "numbers": b64encode(numbers.tobytes()).decode()}  # type: ignore[return-value]


def test_numbers_in_a_matrix_are_the_same_rows_as_numbers_in_lists(tmp_path):
    missing = {
        "received": {"age": [0.1, None, 1e300], "paperless": [True, None, False], "plan": ["Prämie", None, "b"]},
        "encoded": matrix([[0.1, 1], [np.nan, np.nan], [np.inf, 0]]),
        "score": [0.25, 0.5, 0.75],
    }
    listed = [request(1), request(2, count=3, **missing), request(3, count=2), request(4, count=3, **missing)]
    mixed = [as_matrix(each) if number in (1, 3) else each for number, each in enumerate(listed)]

    expected = rows.read(write(tmp_path / "lists", listed)).table
    assert rows.read(write(tmp_path / "mixed", mixed)).table.equals(expected)
    assert rows.read(write(tmp_path / "matrices", [as_matrix(each) for each in listed])).table.equals(expected)


def test_a_matrix_of_another_size_is_a_damaged_line(tmp_path):
    short = as_matrix(request(1, count=3)) | {"rows": 4, "score": [0.5] * 4}

    with pytest.raises(StepFailed, match="is damaged"):
        rows.read(write(tmp_path, [short]))


def test_the_event_time_is_that_of_the_request_or_the_time_of_the_request_itself(tmp_path):
    table = rows.read(write(tmp_path, [request(1, count=2, event_time_us=1769860800_000000), request(2)])).table
    january = datetime(2026, 1, 31, 12, tzinfo=UTC)
    assert table["event_time"].to_pylist() == [january, january, datetime(2024, 10, 4, 12, tzinfo=UTC)]
    assert table["at"].to_pylist() == [datetime(2024, 10, 4, 12, tzinfo=UTC)] * 3


def test_one_entity_for_a_request_is_that_of_each_row(tmp_path):
    table = rows.read(write(tmp_path, [request(1, count=3, entity=["c7"])])).table
    assert table["entity"].to_pylist() == ["c7"] * 3


def test_several_classes_have_a_score_each(tmp_path):
    header = SegmentHeader("iris", "1", HEADER.features, HEADER.encoded, ("a", "b"))
    table = rows.read(write(tmp_path, [request(1, count=2, score=[[0.25, 0.75], [0.5, 0.5]])], header=header)).table
    assert table["scores"].to_pylist() == [[0.25, 0.75], [0.5, 0.5]] and table["score"].to_pylist() == [None, None]


def test_a_torn_last_line_is_dropped_and_its_length_reported(tmp_path):
    path = write(tmp_path, [request(1), request(2)])
    content = path.read_bytes()
    path.write_bytes(content[:-7])
    assert rows.read(path).table["request_id"].to_pylist() == ["request-1"]
    assert compaction.compact(tmp_path).torn_bytes == len(json.dumps(request(2))) + 1 - 7


@pytest.mark.parametrize("content", [b"", b"{", b'{"version": 1'])
def test_a_segment_whose_writer_was_killed_at_once_has_no_rows(tmp_path, content):
    write(tmp_path, []).write_bytes(content)
    assert compaction.compact(tmp_path) == compaction.Compacted(segments=1, torn_bytes=len(content))


def test_a_damaged_segment_is_set_aside_and_the_others_are_compacted(tmp_path):
    damaged = write(tmp_path, [request(1)])
    damaged.write_bytes(damaged.read_bytes().replace(b"0.25", b"0.25.1"))
    write(tmp_path, [request(2)], sequence=2)
    result = compaction.compact(tmp_path)

    assert result.rows == 1 and ids(tmp_path) == ["request-2"]
    assert len(result.damaged) == 1 and "is damaged" in result.damaged[0]
    assert [path.name for path in segments.wal(tmp_path).iterdir()] == [f"{damaged.name}.damaged"]


def test_a_segment_of_a_newer_version_is_refused(tmp_path):
    path = write(tmp_path, [])
    path.write_bytes(path.read_bytes().replace(b'"version": 2', b'"version": 3'))
    with pytest.raises(StepFailed, match="log version 3, this one reads up to 2"):
        rows.read(path)


# Compaction.


def test_rows_are_laid_down_by_the_day_of_the_request_in_utc(tmp_path):
    write(tmp_path, [request(1), request(2, NOON + DAY // 2 - 1), request(3, NOON + DAY // 2)])
    assert compaction.compact(tmp_path) == compaction.Compacted(rows=3, segments=1)
    assert {path.parent.name for path in compaction.files(tmp_path)} == {"day=2024-10-04", "day=2024-10-05"}
    assert logged(tmp_path, date(2024, 10, 5))["request_id"].to_pylist() == ["request-3"]
    assert logged(tmp_path, date(2024, 10, 1), date(2024, 10, 4)).num_rows == 2


def test_a_segment_that_is_being_written_is_left_alone(tmp_path):
    with segments.create(tmp_path, NOON, 1) as stream:
        stream.write(HEADER.line() + json.dumps(request(1)).encode() + b"\n")
        assert compaction.compact(tmp_path) == compaction.Compacted()
    assert compaction.compact(tmp_path).rows == 1 and compaction.compact(tmp_path).rows == 0


def test_releases_with_other_features_share_a_day(tmp_path):
    write(tmp_path, [request(1)])
    other = SegmentHeader("churn", "4", (LoggedFeature("fee", "numeric"),), ("fee",))
    write(tmp_path, [request(2, received={"fee": [3]}, encoded=matrix([[3]]))], sequence=2, header=other)
    compaction.compact(tmp_path)
    by_release = {row["release"]: row for row in logged(tmp_path).to_pylist()}
    assert by_release["4"]["received.fee"] == 3 and by_release["4"]["received.age"] is None
    assert by_release["3"]["received.age"] == 0.1 and by_release["3"]["received.fee"] is None


def test_the_many_small_files_of_a_day_become_one(tmp_path):
    for number in range(20):
        write(tmp_path, [request(number)], sequence=number)
        compaction.compact(tmp_path)
    assert len(compaction.files(tmp_path)) < 16
    assert ids(tmp_path) == sorted(f"request-{number}" for number in range(20))


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_whatever_is_left_of_a_killed_compaction_no_row_is_lost_or_doubled(tmp_path_factory, data):
    """A compaction that was killed left some of its files, and none or some of its segments deleted."""
    folder = tmp_path_factory.mktemp("log")
    for number in range(4):
        write(folder, [request(2 * number, NOON), request(2 * number + 1, NOON + DAY)], sequence=number)
    originals = {path: path.read_bytes() for path in segments.complete(folder)}
    compaction.compact(folder)
    written = compaction.files(folder)
    lost = data.draw(st.sets(st.sampled_from(written)))
    # Segments are deleted only after every file is there.
    kept = data.draw(st.sets(st.sampled_from(sorted(originals)))) if not lost else set(originals)
    for path in lost:
        path.unlink()
    for path in kept:
        path.write_bytes(originals[path])
    if data.draw(st.booleans()):
        write(folder, [request(8)], sequence=9)
    expected = sorted(
        {f"request-{n}" for n in range(8)}
        | ({"request-8"} if len(list(segments.complete(folder))) > len(kept) else set())
    )
    compaction.compact(folder)
    compaction.compact(folder)
    assert ids(folder) == expected


def test_a_compaction_that_is_killed_again_and_again_ends_with_every_row_once(tmp_path):
    rng = np.random.default_rng(5)
    written = 0
    for attempt in range(12):
        for sequence in range(3):
            batch = [request(written + n, NOON + (written + n) % 5 * DAY) for n in range(40)]
            write(tmp_path, batch, sequence=100 * attempt + sequence)
            written += len(batch)
        child = os.fork()
        if child == 0:
            compaction.compact(tmp_path)
            os._exit(0)
        time.sleep(float(rng.uniform(0, 0.08)))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    compaction.compact(tmp_path)
    assert ids(tmp_path) == sorted(f"request-{n}" for n in range(written))
    assert not list(tmp_path.rglob("*.partial")) and not list(segments.wal(tmp_path).iterdir())


def test_days_beyond_the_retention_are_deleted(tmp_path):
    write(tmp_path, [request(n, NOON + n * DAY) for n in range(4)])
    compaction.compact(tmp_path)
    now = datetime(2024, 10, 7, 23, 59, tzinfo=UTC)
    assert compaction.expire(tmp_path, 2, now) == ["2024-10-04"]
    assert ids(tmp_path) == ["request-1", "request-2", "request-3"]
    compaction.compact(tmp_path)
    assert ids(tmp_path) == ["request-1", "request-2", "request-3"]


def test_a_note_of_somebody_who_was_forgotten_ends_with_the_retention(tmp_path):
    write(tmp_path, [request(1, entity=["x"])])
    compaction.forget(tmp_path, ["x"], datetime(2024, 10, 4, 12, tzinfo=UTC))
    compaction.forget(tmp_path, ["y"], datetime(2024, 10, 6, 12, tzinfo=UTC))

    compaction.expire(tmp_path, 2, datetime(2024, 10, 6, 23, 59, tzinfo=UTC))
    assert len(forgetting.read(tmp_path).until_us) == 2
    compaction.expire(tmp_path, 2, datetime(2024, 10, 7, 0, 1, tzinfo=UTC))
    assert [until for *_, until in forgetting.read(tmp_path).until_us] == [1_728_216_000_000_000]


# Removal of a person's rows.


def test_the_rows_of_an_entity_are_removed_and_no_others(tmp_path):
    write(
        tmp_path,
        [request(1, entity=["x"]), request(2, count=2, entity=["y", "x"]), request(3, entity=["y"]), request(4)],
    )
    compaction.compact(tmp_path)
    write(tmp_path, [request(5, entity=["x"]), request(6, entity=["y"])], sequence=2)

    removed = compaction.forget(tmp_path, ["x"], datetime(2024, 10, 5, tzinfo=UTC))

    left = logged(tmp_path).select(["request_id", "row", "entity"]).to_pylist()
    assert {(row["request_id"], row["row"]) for row in left} == {
        ("request-2", 0), ("request-3", 0), ("request-4", 0), ("request-6", 0)
    }  # fmt: skip
    assert removed == {("request-1", 0), ("request-2", 1), ("request-5", 0)}
    assert b"x" not in {(row["entity"] or "").encode() for row in left}


def test_a_segment_that_was_being_written_loses_the_rows_of_before_and_keeps_those_of_later(tmp_path):
    write(tmp_path, [request(1, entity=["y"])])
    now = datetime(2024, 10, 4, 12, 0, 1, tzinfo=UTC)
    compaction.forget(tmp_path, ["x"], now)
    after = NOON + 2 * 10**9
    write(tmp_path, [request(2, entity=["x"]), request(3, after, entity=["x"])], sequence=2)

    compaction.compact(tmp_path)

    assert ids(tmp_path) == ["request-1", "request-3"]
    assert "x" not in (tmp_path / "forgotten.jsonl").read_text().split('"')


def test_what_was_removed_is_not_compacted_again(tmp_path):
    path = write(tmp_path, [request(1, entity=["x"]), request(2, entity=["y"])])
    segment = path.read_bytes()
    compaction.compact(tmp_path)
    compaction.forget(tmp_path, ["x"], datetime(2024, 10, 5, tzinfo=UTC))
    # A process was killed before it could delete the segment.
    path.write_bytes(segment)

    compaction.compact(tmp_path)

    assert ids(tmp_path) == ["request-2"]


def test_a_log_that_does_not_exist_has_nothing_to_remove(tmp_path):
    assert compaction.forget(tmp_path / "absent", ["x"], datetime(2024, 10, 5, tzinfo=UTC)) == set()
    assert not (tmp_path / "absent").exists()
