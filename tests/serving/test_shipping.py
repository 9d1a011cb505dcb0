"""What a pod logs reaches the collector once, whole and in the end, whether or not the collector is always there."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from prometheus_client import REGISTRY

from components.shared import polling
from components.shared.inference_log import segments
from components.shared.inference_log.policy import LogPolicy
from components.shared.inference_log.segments import LoggedFeature, SegmentHeader
from serving.collector.app import app
from serving.collector.inbox import Inbox
from serving.inference_log import InferenceLog
from serving.shipping import CollectedLog, Shipper
from tests.serving import tiny
from tests.serving.four_protocols import Question, ServerInProcess

HEADER = SegmentHeader("tiny", "1", (LoggedFeature("usage", "numeric"),), ("usage",)).line()


@contextmanager
def collector(folder: Path, port: int = 0) -> Iterator[int]:
    """Run a collector on loopback; yields its port."""
    server = uvicorn.Server(uvicorn.Config(app(Inbox(folder)), host="127.0.0.1", port=port, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        polling.within(lambda: server.started, 10, 0.01)
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()


def segment(folder: Path, requests: int = 1, sequence: int = 1) -> None:
    with segments.create(folder, 10**18 + sequence, sequence) as stream:
        stream.write(HEADER + b"{}\n" * requests)


def lines(folder: Path) -> int:
    return sum(len(path.read_bytes().splitlines()) - 1 for path in segments.wal(folder).glob("*.jsonl"))


def shipper(folder: Path, port: int, **settings: Any) -> Shipper:
    """A shipper that sends when the test says so."""
    return Shipper(folder, f"http://127.0.0.1:{port}", "tiny", pause_s=1000, **settings)


def lost() -> float:
    return REGISTRY.get_sample_value("perennial_unlogged_requests_total", {"model_name": "tiny"}) or 0.0


def test_what_a_server_answers_reaches_the_collector_and_leaves_the_pod(tmp_path):
    server = ServerInProcess(tmp_path / "models")
    with collector(tmp_path / "there") as port:
        log = InferenceLog(tmp_path / "pod", LogPolicy(), segment_s=0.05, flush_s=0.01)
        server.exchange.log = CollectedLog(
            log, Shipper(tmp_path / "pod", f"http://127.0.0.1:{port}", "tiny", pause_s=0.02)
        )
        for _ in range(20):
            server.v1(Question(tiny.SAMPLE))
        server.exchange.log.close()

    assert lines(tmp_path / "there") == 20
    assert list(segments.wal(tmp_path / "pod").iterdir()) == []


def test_a_segment_that_is_still_being_written_stays(tmp_path):
    with collector(tmp_path / "there") as port, segments.create(tmp_path / "pod", 10**18, 1) as stream:
        stream.write(HEADER)
        assert shipper(tmp_path / "pod", port).ship()

    assert lines(tmp_path / "there") == 0
    assert len(list(segments.wal(tmp_path / "pod").glob("*.jsonl"))) == 1


def test_a_collector_that_is_older_than_the_server_loses_nothing(tmp_path):
    newer = HEADER.replace(f'"version": {segments.VERSION}'.encode(), b'"version": 99')
    with collector(tmp_path / "there") as port:
        answer = httpx.put(f"http://127.0.0.1:{port}/segments/{10**18:020d}-1-1-a.jsonl", content=newer)
    assert answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE and "newer version of Perennial" in answer.text

    # A collector from before this answers the same with another status.
    former = httpx.MockTransport(lambda _: httpx.Response(400, text=answer.text))
    segment(tmp_path / "pod", requests=3)
    before, sender = lost(), shipper(tmp_path / "pod", 1, transport=former)
    assert not sender.ship()
    assert lost() == before and lines(tmp_path / "pod") == 3


def test_without_a_collector_everything_waits_and_goes_when_it_is_back(tmp_path):
    with collector(tmp_path / "there") as port:
        pass
    segment(tmp_path / "pod", requests=3)
    sender = shipper(tmp_path / "pod", port)

    assert not sender.ship()
    assert lines(tmp_path / "pod") == 3
    with collector(tmp_path / "there", port):
        assert sender.ship()
    assert (lines(tmp_path / "pod"), lines(tmp_path / "there")) == (0, 3)


def test_a_segment_whose_answer_was_lost_is_sent_again_and_taken_once(tmp_path):
    inbox, answers = Inbox(tmp_path / "there"), iter((False, True))

    def deliver(request: httpx.Request) -> httpx.Response:
        inbox.take(request.url.path.rpartition("/")[2], request.content)
        if not next(answers):
            raise httpx.ReadError("the connection was reset")
        return httpx.Response(HTTPStatus.OK)

    segment(tmp_path / "pod", requests=2)
    sender = Shipper(tmp_path / "pod", "http://collector", "tiny", pause_s=1000, transport=httpx.MockTransport(deliver))

    assert [sender.ship(), sender.ship()] == [False, True]
    assert lines(tmp_path / "there") == 2


def test_the_oldest_segments_are_dropped_and_counted_when_too_many_wait(tmp_path):
    for sequence in range(4):
        segment(tmp_path / "pod", requests=10, sequence=sequence)
    before, size = lost(), len(HEADER) + 30
    with collector(tmp_path / "there") as port:
        shipper(tmp_path / "pod", port, capacity_bytes=2 * size).ship()

    assert lost() - before == 20
    assert {path.name[:20] for path in segments.wal(tmp_path / "there").glob("*.jsonl")} == {
        f"{10**18 + sequence:020d}" for sequence in (2, 3)
    }


def test_a_segment_that_the_collector_refuses_does_not_hold_the_others_up(tmp_path):
    with segments.create(tmp_path / "pod", 10**18, 1) as stream:
        stream.write(b"no header\nrequest\n")
    segment(tmp_path / "pod", requests=5, sequence=2)
    before = lost()
    with collector(tmp_path / "there") as port:
        assert shipper(tmp_path / "pod", port).ship()

    assert (lost() - before, lines(tmp_path / "there")) == (1, 5)
    assert list(segments.wal(tmp_path / "pod").iterdir()) == []


def test_a_collector_that_hangs_does_not_hold_up_the_end_of_a_server(tmp_path):
    hanging = threading.Event()

    def hang(_: httpx.Request) -> httpx.Response:
        hanging.wait(30)
        return httpx.Response(HTTPStatus.OK)

    segment(tmp_path / "pod")
    sender = Shipper(tmp_path / "pod", "http://collector", "tiny", pause_s=0.01, transport=httpx.MockTransport(hang))
    began = time.monotonic()
    sender.close()
    waited_s = time.monotonic() - began
    hanging.set()

    assert waited_s < 10


@pytest.mark.parametrize("name", ["x.jsonl", "..%2f..%2fetc.jsonl", f"{10**18:020d}-a.txt"])
def test_another_name_than_a_segments_is_refused(tmp_path, name):
    with collector(tmp_path / "there") as port:
        answer = httpx.put(f"http://127.0.0.1:{port}/segments/{name}", content=HEADER)

    assert answer.status_code in (HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND)
    assert list(segments.wal(tmp_path / "there").iterdir()) == []


def test_the_collector_says_how_much_it_took(tmp_path):
    segment(tmp_path / "pod")
    with collector(tmp_path / "there") as port:
        shipper(tmp_path / "pod", port).ship()
        metrics = httpx.get(f"http://127.0.0.1:{port}/metrics").text

    assert 'perennial_collected_segments_total{new="true"}' in metrics
