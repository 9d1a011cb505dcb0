"""One exchange answers every protocol: ids, entities, routing, metrics and observers are the same on all of them."""

import logging
import re
import threading
import time
import uuid
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from prometheus_client import REGISTRY, generate_latest

from components.shared.release.routing import Routing
from serving.exchange import Exchange, ScoredRequest
from serving.observers import Observers
from tests.serving import tiny
from tests.serving.four_protocols import PROTOCOLS, WITH_ID_FIELD, Question, ServerInProcess
from tests.serving.test_request_id import HOSTILE

ROWS = [*tiny.SAMPLE, {"usage": 3.0, "active": False, "plan": "東京"}]
DECISIONS = ["yes" if tiny.score(row) >= tiny.THRESHOLD else "no" for row in ROWS]


def counted(prefix: str) -> dict[str, float]:
    """Return the samples of this process's /metrics whose name begins so."""
    lines = generate_latest(REGISTRY).decode().splitlines()
    pairs = (line.rpartition(" ") for line in lines if line.startswith(prefix))
    return {name: float(value) for name, _, value in pairs}


def increase(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    return {name: value - before.get(name, 0) for name, value in after.items() if value != before.get(name, 0)}


PARTS = "_created|_bucket|_sum"
"""What a histogram has besides its count."""
OK = {"grpc": "OK"}
BAD = {"grpc": "INVALID_ARGUMENT"}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerInProcess]:
    made = ServerInProcess(tmp_path)
    yield made
    made.exchange.observers.close(5)


@pytest.mark.parametrize("protocol", PROTOCOLS)
class TestEveryProtocol:
    """The contract of a protocol: whatever carries a request, its answer and its traces are the same."""

    def test_answers_the_same(self, server: ServerInProcess, protocol: str):
        answer = getattr(server, protocol)(Question(ROWS))

        assert answer.status == OK.get(protocol, 200)
        assert answer.version == "1"
        assert answer.scores == pytest.approx([tiny.score(row) for row in ROWS], abs=1e-6)
        assert answer.decisions == DECISIONS
        assert answer.unseen == [[], [], [], ["plan"]]

    def test_takes_a_category_with_blanks_or_composed_otherwise_for_what_training_saw(
        self, server: ServerInProcess, protocol: str
    ):
        row = {"usage": 1.0, "active": True}
        spelled = [" basic\t", "Pra\u0308mie", "\u00a0"]
        answer = getattr(server, protocol)(Question([row | {"plan": plan} for plan in spelled]))

        expected = [tiny.score(row | {"plan": plan}) for plan in ("basic", "Prämie", None)]
        assert answer.scores == pytest.approx(expected, abs=1e-6)
        assert answer.unseen == [[], [], []]

    def test_counts_one_request_one_latency_and_its_rows(self, server: ServerInProcess, protocol: str):
        before = counted("perennial_")
        getattr(server, protocol)(Question(ROWS))
        after = counted("perennial_")

        label = PROTOCOLS[protocol]
        changes = {name: by for name, by in increase(before, after).items() if not re.search(PARTS, name)}
        assert changes == {
            f'perennial_requests_total{{model_name="tiny",protocol="{label}",status="200"}}': 1,
            'perennial_rows_total{model_name="tiny",release="1"}': 4,
            'perennial_out_of_vocabulary_total{feature="plan",model_name="tiny"}': 1,
            'perennial_request_seconds_count{model_name="tiny"}': 1,
        }

    def test_counts_a_refusal_by_http_status_and_reason_without_a_latency(self, server: ServerInProcess, protocol: str):
        before = counted("perennial_")
        answer = getattr(server, protocol)(Question([ROWS[0] | {"usage": 1e39}]))
        after = counted("perennial_")

        assert answer.status == BAD.get(protocol, 400)
        assert answer.error.startswith("feature 'usage', row 0: number 1e+39 is infinite")
        label = PROTOCOLS[protocol]
        changes = {name: by for name, by in increase(before, after).items() if not re.search(PARTS, name)}
        assert changes == {
            f'perennial_requests_total{{model_name="tiny",protocol="{label}",status="400"}}': 1,
            'perennial_request_errors_total{model_name="tiny",reason="infinite"}': 1,
        }

    def test_generates_time_ordered_ids_and_returns_them(self, server: ServerInProcess, protocol: str):
        ask = getattr(server, protocol)
        ids = [ask(Question(rows)).request_id for rows in (ROWS, ROWS, [ROWS[0] | {"usage": 1e39}], ROWS)]

        assert [uuid.UUID(answered).version for answered in ids] == [7] * 4
        assert ids == sorted(set(ids))

    def test_takes_the_id_of_a_header(self, server: ServerInProcess, protocol: str):
        for rows in (ROWS, [ROWS[0] | {"usage": 1e39}]):
            assert getattr(server, protocol)(Question(rows, header_id="from-a-proxy")).request_id == "from-a-proxy"

    @pytest.mark.parametrize("hostile", [text for text in HOSTILE if text != "\u2028"])
    def test_never_repeats_a_hostile_id(self, server: ServerInProcess, protocol: str, hostile: str):
        if protocol == "grpc":
            # gRPC's own client refuses such metadata; the field is the only way in.
            answers = [server.grpc(Question(ROWS, field_id=hostile))]
        else:
            answers = [getattr(server, protocol)(Question(ROWS, header_id=hostile))]
            assert answers[0].status == 200
        if protocol in WITH_ID_FIELD:
            refused = getattr(server, protocol)(Question(ROWS, field_id=hostile))
            assert refused.status == BAD.get(protocol, 400)
            assert refused.error.startswith("'id' is text")
            answers.append(refused)

        assert all(uuid.UUID(answer.request_id).version == 7 for answer in answers)

    @pytest.mark.parametrize(
        "entity, expected",
        [
            (None, None),
            ("customer 7", "customer 7"),
            (2**62, str(2**62)),
            (["a", 2, "東京", "d"], ("a", "2", "東京", "d")),
        ],
    )
    def test_carries_the_entity_beside_the_features(
        self, server: ServerInProcess, protocol: str, entity: Any, expected: Any
    ):
        server.exchange.observers.add(server.seen.append)

        answer = getattr(server, protocol)(Question(ROWS, entity=entity))

        assert answer.scores == pytest.approx([tiny.score(row) for row in ROWS], abs=1e-6)
        assert server.exchange.observers.drained(5)
        assert [scored.request.entity for scored in server.seen] == [expected]

    @pytest.mark.parametrize(
        "entity, sentence",
        [
            (["a", "b"], "'entity' has 2 values for 4 rows; expected one per row"),
            (True, "'entity' is true; expected text, an integer, or a list of these with one per row."),
            ("", "'entity' is a text of 0 characters; expected 1 to 256 characters."),
            ("x" * 257, "'entity' is a text of 257 characters; expected 1 to 256 characters."),
            (["a", None, "c", "d"], "'entity', row 1, is null; expected text"),
            (["a", 1.5, "c", "d"], "'entity', row 1, is number 1.5; expected text"),
        ],
    )
    def test_refuses_an_entity_that_is_none(self, server: ServerInProcess, protocol: str, entity: Any, sentence: str):
        answer = getattr(server, protocol)(Question(ROWS, entity=entity))

        assert answer.status == BAD.get(protocol, 400)
        assert answer.error.startswith(sentence)

    @pytest.mark.parametrize(
        "text, expected",
        [(None, None), ("2026-01-31T12:00:00Z", 1769860800_000000), ("1970-01-01T01:00:00.5+01:00", 500000)],
    )
    def test_carries_the_event_time_beside_the_features(
        self, server: ServerInProcess, protocol: str, text: str | None, expected: int | None
    ):
        server.exchange.observers.add(server.seen.append)

        answer = getattr(server, protocol)(Question(ROWS, event_time=text))

        assert answer.scores == pytest.approx([tiny.score(row) for row in ROWS], abs=1e-6)
        assert server.exchange.observers.drained(5)
        assert [scored.request.event_time_us for scored in server.seen] == [expected]

    @pytest.mark.parametrize(
        "wrong, shown", [("2026-01-31T12:00:00", "text '2026-01-31T12:00:00'"), ("soon", "text 'soon'"), (True, "true")]
    )
    def test_refuses_an_event_time_without_a_zone(self, server: ServerInProcess, protocol: str, wrong: Any, shown: str):
        answer = getattr(server, protocol)(Question(ROWS, event_time=wrong))

        assert answer.status == BAD.get(protocol, 400)
        assert answer.error.startswith(f"'event_time' is {shown}; expected ISO 8601 with a time zone")

    def test_keeps_request_features_release_and_latency_together(self, server: ServerInProcess, protocol: str):
        server.exchange.observers.add(server.seen.append)
        before = counted("perennial_request_seconds_sum")
        started_ns = time.time_ns()

        answer = getattr(server, protocol)(Question(ROWS, entity="customer 7"))

        assert server.exchange.observers.drained(5)
        [scored] = server.seen
        assert scored.request.request_id == answer.request_id
        assert (scored.request.protocol, scored.request.model) == (PROTOCOLS[protocol], tiny.NAME)
        assert (scored.request.rows, set(scored.request.columns)) == (4, {"usage", "active", "plan"})
        assert scored.release is server.served.active
        assert scored.encoded.tensors["numeric"].shape == (4, 2)
        assert scored.scores.tolist() == answer.scores
        assert started_ns <= scored.received_at_ns <= time.time_ns()
        [latency] = increase(before, counted("perennial_request_seconds_sum")).values()
        assert scored.latency_s == pytest.approx(latency)
        with pytest.raises(AttributeError):
            scored.latency_s = 0.0  # type: ignore[misc]


@pytest.mark.parametrize("protocol", WITH_ID_FIELD)
def test_prefers_the_id_of_the_protocols_own_field(server: ServerInProcess, protocol: str):
    answer = getattr(server, protocol)(Question(ROWS, field_id="order 17/3", header_id="from-a-proxy"))
    refused = getattr(server, protocol)(Question([ROWS[0] | {"usage": 1e39}], field_id="order 17/3"))

    assert (answer.request_id, answer.body_id) == ("order 17/3", "order 17/3")
    assert refused.request_id == "order 17/3"


def test_the_latency_covers_encoding_and_scoring_but_not_parsing(tmp_path: Path):
    times = iter([9.0, 10.0, 10.25])
    server = ServerInProcess(tmp_path)
    server.exchange = Exchange(server.served, timer_s=lambda: next(times))
    before = counted("perennial_request_seconds_sum")

    server.v1(Question(ROWS))

    # The clock is read when the request begins, after decoding, and after the decisions.
    assert list(increase(before, counted("perennial_request_seconds_sum")).values()) == [pytest.approx(0.25)]


def key_of(routing: Routing, version: str) -> str:
    """Return a key that this version answers."""
    return next(key for key in map("key {}".format, range(1000)) if routing.choose(key) == version)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_routing_chooses_by_entity_or_by_request_id_and_the_answer_names_the_version(tmp_path: Path, protocol: str):
    server = ServerInProcess(tmp_path, {"1": 0.0, "2": 0.5})
    ask = getattr(server, protocol)
    by_entity = Routing(shares={"1": 80, "2": 20})
    by_request = Routing(shares={"1": 80, "2": 20}, sticky_key="request")
    first, second = key_of(by_entity, "1"), key_of(by_entity, "2")

    server.served.route(by_entity)
    answers = [
        ask(Question(ROWS, entity=second, header_id=first)),
        ask(Question(ROWS, entity=first, header_id=second)),
        ask(Question(ROWS, header_id=second)),
        # One entity per row: if it is the same, it decides; otherwise the request is not split, and its id decides.
        ask(Question(ROWS, entity=[first] * 4, header_id=second)),
        ask(Question(ROWS, entity=[first] * 3 + [second], header_id=second)),
    ]
    server.served.route(by_request)
    answers += [
        ask(Question(ROWS, entity=second, header_id=first)),
        ask(Question(ROWS, entity=first, header_id=second)),
    ]

    assert [answer.version for answer in answers] == ["2", "1", "2", "1", "2", "1", "2"]
    assert answers[0].scores == pytest.approx([tiny.score(row, 0.5) for row in ROWS], abs=1e-6)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_shares_are_kept_over_many_requests_without_an_entity(tmp_path: Path, protocol: str):
    server = ServerInProcess(tmp_path, {"1": 0.0, "2": 0.5})
    server.served.route(Routing(shares={"1": 50, "2": 50}))

    versions = [getattr(server, protocol)(Question(ROWS)).version for _ in range(40)]

    assert 5 <= versions.count("2") <= 35


def test_an_observer_that_raises_changes_no_answer_and_other_observers_still_see_it(
    server: ServerInProcess, caplog: pytest.LogCaptureFixture
):
    def broken(scored: ScoredRequest) -> None:
        raise ValueError("a broken observer")

    server.exchange.observers.add(broken)
    server.exchange.observers.add(server.seen.append)
    before = counted("perennial_observer_errors_total")
    with caplog.at_level(logging.ERROR):
        answers = [server.v1(Question(ROWS, header_id=f"q{number}")) for number in range(3)]
        assert server.exchange.observers.drained(5)

    assert [answer.status for answer in answers] == [200] * 3
    assert [scored.request.request_id for scored in server.seen] == ["q0", "q1", "q2"]
    assert list(increase(before, counted("perennial_observer_errors_total")).values()) == [3]
    [logged] = [record.getMessage() for record in caplog.records]
    assert logged.endswith("failed on request 'q0'")


def test_an_observer_that_blocks_delays_no_answer_and_requests_beyond_the_capacity_are_dropped(tmp_path: Path):
    server = ServerInProcess(tmp_path)
    released = threading.Event()
    server.exchange.observers = Observers(capacity_rows=10)

    def blocks(scored: ScoredRequest) -> None:
        released.wait(30)
        server.seen.append(scored)

    server.exchange.observers.add(blocks)
    before = counted("perennial_unobserved_requests_total")
    start = time.monotonic()

    for _ in range(5):
        assert server.v1(Question(ROWS)).status == 200

    assert time.monotonic() - start < 10
    # Two requests of four rows fit into ten; three do not.
    assert list(increase(before, counted("perennial_unobserved_requests_total")).values()) == [3]
    released.set()
    server.exchange.observers.close(10)
    assert len(server.seen) == 2


def test_a_bug_is_a_500_whose_log_line_names_the_request(server: ServerInProcess, caplog: pytest.LogCaptureFixture):
    server.served.active.signature.encode = None  # type: ignore[union-attr, method-assign]

    with caplog.at_level(logging.ERROR):
        answers = {name: getattr(server, name)(Question(ROWS, header_id=f"q-{name}")) for name in PROTOCOLS}

    assert {answer.status for answer in answers.values()} == {500, "INTERNAL"}
    for name, answer in answers.items():
        assert answer.error == f"the server failed unexpectedly; its log has the details of 'q-{name}'."
        assert any(f"request 'q-{name}' over {PROTOCOLS[name]} failed" in r.getMessage() for r in caplog.records)


def test_a_running_server_returns_the_header_also_where_nothing_was_read(running: Any):
    connection = HTTPConnection(urlsplit(running.server.rest_url).netloc, timeout=15)
    headers = {"Content-Type": "text/csv", "X-Request-Id": "q1"}
    for path, status in ((f"/v1/models/{tiny.NAME}:predict", 415), ("/v2/models/other/infer", 404)):
        connection.request("POST", path, b"{}", headers)
        response = connection.getresponse()
        response.read()

        assert (response.status, response.headers["X-Request-Id"]) == (status, "q1")
    connection.close()
