"""Every answered request is written to the inference log, the same on every protocol, and never delays an answer."""

import json
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client import REGISTRY

from components.shared import polling
from components.shared.inference_log import segments
from components.shared.inference_log.policy import LogPolicy
from components.shared.inference_log.segments import LoggedFeature, SegmentHeader
from serving import inference_log
from serving.inference_log import InferenceLog
from tests.serving import tiny
from tests.serving.four_protocols import PROTOCOLS, Question, ServerInProcess

ROWS = [*tiny.SAMPLE, {"usage": 0.1, "active": False, "plan": "東京"}]
FEATURES = (
    LoggedFeature("usage", "numeric"),
    LoggedFeature("active", "boolean"),
    LoggedFeature("plan", "categorical"),
)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerInProcess]:
    with_log = ServerInProcess(tmp_path / "models")
    yield with_log
    if with_log.exchange.log is not None:
        with_log.exchange.log.close()


def log_to(server: ServerInProcess, folder: Path, policy: LogPolicy | None = None, **settings: Any) -> InferenceLog:
    """Log what a server answers; it is written when the test says so."""
    log = InferenceLog(folder, policy or LogPolicy(), **({"flush_s": 1000} | settings))
    server.exchange.log = log
    return log


def logged(server: ServerInProcess, folder: Path) -> list[dict[str, Any]]:
    """Return the requests in the log, in the order of its segments."""
    assert isinstance(server.exchange.log, InferenceLog)
    server.exchange.log.flush()
    paths = sorted(segments.wal(folder).glob("*.jsonl"))
    return [json.loads(line) for path in paths for line in path.read_bytes().splitlines()[1:]]


def header(folder: Path) -> SegmentHeader:
    path = next(segments.wal(folder).glob("*.jsonl"))
    return SegmentHeader.parse(path.read_bytes().splitlines()[0], str(path))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_request_is_logged_as_received_and_as_the_model_saw_it(
    server: ServerInProcess, tmp_path: Path, protocol: str
):
    log_to(server, tmp_path / "log")
    answer = getattr(server, protocol)(Question(ROWS, entity=["a", "b", "c", "d"]))

    [request] = logged(server, tmp_path / "log")
    assert request["id"] == answer.request_id and request["protocol"] == PROTOCOLS[protocol]
    assert request["rows"] == 4 and request["entity"] == ["a", "b", "c", "d"]
    assert request["received"]["usage"] == [1.5, None, -20.0, 0.1]
    assert json.dumps(request["received"]["active"]) == "[true, false, true, false]"
    assert [value or None for value in request["received"]["plan"]] == ["basic", None, "Prämie", "東京"]
    numbers = np.frombuffer(b64decode(request["encoded"]), "<f4").reshape(4, 2)
    assert dict(zip(header(tmp_path / "log").encoded, numbers.T.tolist(), strict=True)) == {
        "usage": pytest.approx([1.5, np.nan, -20.0, np.float32(0.1)], nan_ok=True, rel=0),
        "active": [1.0, 0.0, 1.0, 0.0],
    }
    assert request["score"] == pytest.approx([tiny.score(row) for row in ROWS], abs=1e-6)
    assert request["decision"] == answer.decisions and request["unseen"] == [[], [], [], ["plan"]]
    assert 0 < request["latency_us"] < 10**6
    assert header(tmp_path / "log") == SegmentHeader("tiny", "1", FEATURES, ("usage", "active"))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_numbers_of_many_rows_are_a_matrix_with_every_digit(server: ServerInProcess, tmp_path: Path, protocol: str):
    many = [*ROWS] * 5
    log_to(server, tmp_path / "log", LogPolicy(redacted=frozenset({"active"})))
    getattr(server, protocol)(Question(many))

    [request] = logged(server, tmp_path / "log")
    assert "encoded" not in request and list(request["received"]) == ["plan"]
    assert [value or None for value in request["received"]["plan"][:4]] == ["basic", None, "Prämie", "東京"]
    numbers = np.frombuffer(b64decode(request["numbers"]), "<f8")
    # Three of the protocols carry doubles; the tensors of the fourth are in single precision.
    assert numbers.tolist() == pytest.approx([1.5, np.nan, -20.0, 0.1] * 5, nan_ok=True, rel=1e-7)
    assert protocol != "v1" or numbers[3] == 0.1


def test_the_event_time_of_a_request_is_logged_if_it_says_one(server: ServerInProcess, tmp_path: Path):
    log_to(server, tmp_path / "log")
    server.v1(Question(ROWS, event_time="2026-01-31T13:00:00+01:00"))
    server.v1(Question(ROWS))

    replayed, live = logged(server, tmp_path / "log")
    assert replayed["event_time_us"] == 1769860800_000000
    assert "event_time_us" not in live


def test_a_request_that_is_refused_is_not_logged(server: ServerInProcess, tmp_path: Path):
    log_to(server, tmp_path / "log")
    assert server.v1(Question([{"usage": 1}])).status == 400
    assert logged(server, tmp_path / "log") == []


def test_a_redacted_feature_is_nowhere_in_the_log(server: ServerInProcess, tmp_path: Path):
    log_to(server, tmp_path / "log", LogPolicy(redacted=frozenset({"usage", "plan"})))
    server.v1(Question(ROWS))
    [request] = logged(server, tmp_path / "log")
    assert request["received"] == {"active": [True, False, True, False]}
    assert np.frombuffer(b64decode(request["encoded"]), "<f4").tolist() == [1.0, 0.0, 1.0, 0.0]
    assert header(tmp_path / "log").features == (LoggedFeature("active", "boolean"),)


def test_a_sample_of_the_requests_is_logged_and_chosen_by_the_id_alone(server: ServerInProcess, tmp_path: Path):
    policy = LogPolicy(sample=0.3)
    log_to(server, tmp_path / "log", policy)
    ids = [f"r{number}" for number in range(200)]
    for request_id in ids:
        server.v1(Question(ROWS[:1], header_id=request_id))
    chosen = [request["id"] for request in logged(server, tmp_path / "log")]
    assert chosen == [request_id for request_id in ids if policy.includes(request_id)]
    assert 30 < len(chosen) < 90


def test_a_segment_is_closed_when_it_is_old_so_that_it_can_be_compacted(server: ServerInProcess, tmp_path: Path):
    now = [0.0]
    log = log_to(server, tmp_path / "log", timer_s=lambda: now[0])
    for tenth in range(0, 160, 5):
        now[0] = tenth / 10
        server.v1(Question(ROWS, header_id=f"r{tenth}"))
        log.flush()

    [closed] = segments.complete(tmp_path / "log")
    # Requests came all the time; at 15.0 seconds the segment was closed with all that was in it.
    assert [json.loads(line)["id"] for line in closed.read_bytes().splitlines()[1:]][-1] == "r150"
    assert [request["id"] for request in logged(server, tmp_path / "log")] == [f"r{n}" for n in range(0, 160, 5)]


def test_a_segment_is_closed_when_no_request_comes(server: ServerInProcess, tmp_path: Path):
    now = [0.0]
    log = log_to(server, tmp_path / "log", timer_s=lambda: now[0])
    server.v1(Question(ROWS, header_id="before"))
    log.flush()
    assert list(segments.complete(tmp_path / "log")) == []
    now[0] = 1.0
    log.flush()
    assert len(list(segments.complete(tmp_path / "log"))) == 1

    server.v1(Question(ROWS, header_id="after"))
    assert [request["id"] for request in logged(server, tmp_path / "log")] == ["before", "after"]


def test_the_log_is_written_by_itself_within_a_second(server: ServerInProcess, tmp_path: Path):
    log_to(server, tmp_path / "log", flush_s=0.05)
    server.v1(Question(ROWS))

    def lines() -> int:
        return sum(len(path.read_bytes().splitlines()) for path in segments.wal(tmp_path / "log").glob("*.jsonl"))

    assert polling.within(lambda: lines() == 2, deadline_s=10, poll_s=0.02)


def test_what_waits_is_written_when_the_log_is_closed(server: ServerInProcess, tmp_path: Path):
    log = log_to(server, tmp_path / "log")
    server.v1(Question(ROWS, header_id="last"))
    log.close()

    [segment] = segments.complete(tmp_path / "log")
    assert b'"last"' in segment.read_bytes()


def test_each_release_has_segments_of_its_own(tmp_path: Path):
    server = ServerInProcess(tmp_path / "models", biases={"1": 0.0, "2": 1.0})
    log = log_to(server, tmp_path / "log")
    for version in ("1", "2"):
        server.served.activate(server.served.loaded[version])
        server.v1(Question(ROWS))
    assert len(logged(server, tmp_path / "log")) == 2
    releases = [
        SegmentHeader.parse(path.read_bytes().splitlines()[0], str(path)).release
        for path in sorted(segments.wal(tmp_path / "log").glob("*.jsonl"))
    ]
    assert releases == ["1", "2"]
    log.close()


def unlogged() -> float:
    return REGISTRY.get_sample_value("perennial_unlogged_requests_total", {"model_name": tiny.NAME}) or 0.0


def test_a_folder_that_cannot_be_written_fails_no_request_and_is_counted(server: ServerInProcess, tmp_path: Path):
    (tmp_path / "log").write_text("a file where the folder should be")
    before = unlogged()
    log = log_to(server, tmp_path / "log")
    assert [server.v1(Question(ROWS)).status for _ in range(3)] == [200] * 3
    log.flush()
    assert unlogged() - before == 3
    (tmp_path / "log").unlink()
    assert server.v1(Question(ROWS, header_id="later")).status == 200
    assert [request["id"] for request in logged(server, tmp_path / "log")] == ["later"]


def test_requests_beyond_what_may_wait_are_dropped_and_counted(server: ServerInProcess, tmp_path: Path):
    before = unlogged()
    log_to(server, tmp_path / "log", capacity_bytes=1000)
    statuses = [server.v1(Question(ROWS[:1], header_id=f"r{number}")).status for number in range(20)]
    kept = [request["id"] for request in logged(server, tmp_path / "log")]

    assert statuses == [200] * 20
    assert kept == [f"r{number}" for number in range(len(kept))] and 0 < len(kept) < 20
    assert unlogged() - before == 20 - len(kept)
    server.v1(Question(ROWS[:1], header_id="space again"))
    assert logged(server, tmp_path / "log")[-1]["id"] == "space again"


def test_a_request_that_can_not_be_written_as_a_line_is_answered_and_counted(
    server: ServerInProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    before = unlogged()
    log_to(server, tmp_path / "log")
    monkeypatch.setattr(inference_log.LineWriter, "line", lambda *what: 1 / 0)
    assert server.v1(Question(ROWS)).status == 200
    assert unlogged() - before == 1
