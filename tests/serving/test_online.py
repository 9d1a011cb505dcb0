"""A request may carry an entity instead of features: they are looked up, with their ages, alike on every protocol."""

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.shared.documents.feature_views import FeatureViewFacts
from components.shared.documents.model_facts import FeatureFacts
from components.shared.errors import InputError
from components.shared.inference_log import segments
from components.shared.inference_log.policy import LogPolicy
from components.shared.inputs.categories import category_text
from components.shared.release.routing import Routing
from serving import openapi
from serving.inference_log import InferenceLog
from serving.online import looked_up
from serving.online.feature_server import FeatureServer, StoredRow
from serving.online.lookups import Lookups
from serving.refusal import RequestRefused
from serving.release import ServedRelease
from tests.serving import feature_server_double as double
from tests.serving import tiny
from tests.serving.four_protocols import PROTOCOLS, Answer, Question, ServerInProcess
from tests.serving.test_exchange import BAD, OK

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
WEEK = timedelta(days=7)
VIEWS = (
    {"name": "use", "features": ("usage", "unused"), "ttl_s": WEEK.total_seconds()},
    {"name": "contract", "features": ("active", "plan"), "ttl_s": 0.0},
)
GRPC = {404: "NOT_FOUND", 409: "FAILED_PRECONDITION", 413: "RESOURCE_EXHAUSTED", 503: "UNAVAILABLE"}
every_protocol = pytest.mark.parametrize("protocol", PROTOCOLS)


def stored() -> double.Store:
    """Return two customers; the use of "late" is a week and a second old."""
    use = {"c1": (NOW - timedelta(hours=1), {"usage": 2.5, "unused": 1.0})}
    use["late"] = (NOW - WEEK - timedelta(seconds=1), {"usage": 9.0, "unused": 1.0})
    contract = {who: (NOW - timedelta(days=400), {"active": True, "plan": "plus"}) for who in ("c1", "late", "new")}
    return double.Store({"use": use, "contract": contract})


@dataclass
class Online:
    """A server that looks features up in a store."""

    server: ServerInProcess
    store: double.Store
    lookups: Lookups

    def ask(self, protocol: str, question: Question) -> Answer:
        answer: Answer = getattr(self.server, protocol)(question)
        return answer


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return two versions with views, and one from before there were any."""
    folder = tmp_path_factory.mktemp("packages")
    made = {bias: tiny.package(folder / bias, bias=float(bias), views=VIEWS) for bias in ("0", "1")}
    return made | {"old": tiny.package(folder / "old")}


@pytest.fixture
def online(tmp_path: Path, packages: dict[str, Path]) -> Iterator[Online]:
    store = stored()
    with double.serving(store) as url:
        server = ServerInProcess(tmp_path)
        server.served.activate(ServedRelease(packages["0"], tiny.NAME, "1"))
        server.exchange.lookups = lookups = Lookups(FeatureServer(url, 5.0), clock_ns=lambda: _us(NOW) * 1000)
        yield Online(server, store, lookups)
        lookups.close()


def _us(moment: datetime) -> int:
    return int(moment.timestamp()) * 10**6


@every_protocol
def test_an_entity_alone_is_scored_with_its_stored_features_and_told_their_ages(online: Online, protocol: str):
    answer = online.ask(protocol, Question([{}], entity="c1"))

    assert answer.status == OK.get(protocol, 200)
    assert answer.scores == pytest.approx([tiny.score({"usage": 2.5, "active": True, "plan": "plus"})])
    ages = answer.served[0]["feature_ages"]
    assert ages["use"] == {"event_time": "2026-05-01T11:00:00Z", "age_s": 3600.0, "expired": False}
    assert ages["contract"]["age_s"] == 400 * 86400.0
    assert "features" not in answer.served[0]


@every_protocol
def test_the_features_that_were_scored_are_returned_on_request_and_a_row_beyond_its_ttl_is_missing(
    online: Online, protocol: str
):
    answer = online.ask(protocol, Question([{}, {}, {}], entity=["late", "new", "c1"], return_features=True))

    rows = [{"usage": usage, "active": True, "plan": "plus"} for usage in (None, None, 2.5)]
    assert [row["features"] for row in answer.served] == rows
    assert answer.scores == pytest.approx([tiny.score(row) for row in rows])
    late, new, _ = (row["feature_ages"]["use"] for row in answer.served)
    assert late == {"event_time": "2026-04-24T11:59:59Z", "age_s": WEEK.total_seconds() + 1, "expired": True}
    assert new == {"event_time": None, "age_s": None, "expired": False}


@every_protocol
def test_what_the_request_has_is_used_and_only_the_rest_is_looked_up(online: Online, protocol: str):
    rows: list[dict[str, Any]] = [{"usage": 7.0}, {"usage": None}]
    answer = online.ask(protocol, Question(rows, entity="c1", return_features=True))

    assert [row["features"] for row in answer.served] == [row | {"active": True, "plan": "plus"} for row in rows]
    [question] = online.store.asked
    assert question["entities"] == {"customer": ["c1"]}
    # One feature of the other view, to notice an entity that the store does not have at all.
    assert set(question["features"]) == {"contract:active", "contract:plan", "use:usage"}


@every_protocol
def test_a_request_with_all_features_asks_nobody(online: Online, protocol: str):
    online.store.failure = (500, "down")
    answer = online.ask(protocol, Question(list(tiny.SAMPLE), entity="c1"))

    assert answer.scores == pytest.approx([tiny.score(row) for row in tiny.SAMPLE], abs=1e-6)
    assert answer.served is None
    assert not online.store.asked


@every_protocol
@pytest.mark.parametrize(
    "question, status, sentence",
    [
        (Question([{}]), 400, "feature 'active' is absent; send it, or the request's 'entity'"),
        (Question([{}], entity="c9"), 404, "no row of entity 'c9'; check it"),
        (Question([{}] * 101, entity=[f"e{n}" for n in range(101)]), 413, "about 101 entities; .* at most 100"),
        (Question([{"usage": 1.0}] * 2, entity=["c1"]), 400, "'entity' has 1 values for 2 rows"),
        (
            Question([{}], entity="c1", event_time="2026-05-01T10:59:59Z"),
            409,
            "'c1' in the view 'use' is of 2026-05-01T11:00:00Z, after 2026-05-01T10:59:59Z",
        ),
    ],
)
def test_what_cannot_be_looked_up_is_refused_with_its_reason(
    online: Online, protocol: str, question: Question, status: int, sentence: str
):
    online.ask(protocol, Question([{}], entity="c1"))

    answer = online.ask(protocol, question)

    assert answer.status == ((BAD | {"grpc": GRPC.get(status, BAD["grpc"])}).get(protocol, status))
    with pytest.raises(AssertionError, match=sentence):
        raise AssertionError(answer.error)


def test_the_event_time_of_a_request_decides_what_is_expired(online: Online):
    answer = online.ask("v1", Question([{}], entity="late", event_time="2026-05-01T11:59:59Z", return_features=True))

    assert answer.served[0]["features"]["usage"] == 9.0
    assert answer.served[0]["feature_ages"]["use"]["age_s"] == WEEK.total_seconds()


@pytest.mark.parametrize("absent", ["NOT_FOUND", "PRESENT"])
def test_an_empty_store_is_named_and_never_scored_as_missing_values(online: Online, absent: str):
    rows, online.store.rows, online.store.absent = online.store.rows, {}, absent

    empty = online.ask("v1", Question([{}], entity="c1"))
    online.store.rows = rows
    known = online.ask("v1", Question([{}], entity="c1"))
    unknown = online.ask("v1", Question([{}], entity="c9"))

    assert (empty.status, known.status, unknown.status) == (503, 200, 404)
    assert "it may be empty. Run the pipeline 'materialization'" in empty.error


@every_protocol
def test_a_required_value_that_the_store_lacks_says_whose_it_is_and_why(online: Online, protocol: str):
    online.store.rows["contract"]["c1"] = (NOW, {"active": None, "plan": "plus"})

    answer = online.ask(protocol, Question([{}], entity="c1"))

    assert answer.status == GRPC[409] if protocol == "grpc" else 409
    assert "feature 'active' of entity 'c1' is missing in the view 'contract'" in answer.error
    assert "its row of 2026-05-01T12:00:00Z has no value" in answer.error


@pytest.mark.parametrize(
    "failure, sentence",
    [
        ((500, "'Feature plan not found in projection contract'"), "status 500: 'Feature plan not found"),
        ((404, json.dumps({"module": "feast.errors", "message": "Feature view use does not exist"})), "use does not"),
        ((200, {"results": []}), "its answer is not that of a feature server"),
        ((200, []), "its answer is not that of a feature server"),
    ],
)
def test_a_feature_server_that_fails_is_503_with_what_it_says(online: Online, failure: Any, sentence: str):
    online.store.failure = failure
    answer = online.ask("v1", Question([{}], entity="c1"))

    assert answer.status == 503
    assert sentence in answer.error
    assert answer.error.startswith("the features could not be looked up")


def test_a_server_that_is_away_or_hangs_is_503_and_the_next_request_finds_it_again(online: Online):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    online.server.exchange.lookups = Lookups(FeatureServer(f"http://127.0.0.1:{port}", 5.0))
    away = online.ask("v1", Question([{}], entity="c1"))

    online.store.held = threading.Event()
    with double.serving(online.store) as url:
        online.server.exchange.lookups = Lookups(FeatureServer(url, 0.05), clock_ns=lambda: _us(NOW) * 1000)
        hanging = online.ask("v1", Question([{}], entity="c1"))
        online.store.held.set()
        online.store.held = None
        back = online.ask("v1", Question([{}], entity="c1"))

    assert (away.status, hanging.status, back.status) == (503, 503, 200)
    assert f"127.0.0.1:{port} fails (" in away.error
    assert "timed out" in hanging.error


def test_a_connection_that_the_server_closed_is_opened_again(online: Online):
    server = online.lookups._server
    [before] = server.read("customer", ["c1"], {"use": ["usage"]})["use"]
    server._threads.connection.sock.shutdown(socket.SHUT_RDWR)

    [after] = server.read("customer", ["c1"], {"use": ["usage"]})["use"]

    assert before == after == StoredRow(_us(NOW - timedelta(hours=1)), {"usage": 2.5})


def test_other_requests_are_answered_while_a_lookup_waits(online: Online):
    online.store.held = threading.Event()

    async def both() -> tuple[bool, int]:
        exchange = online.server.exchange
        waiting = asyncio.create_task(_v1(exchange, {"entity": "c1"}))
        other = await _v1(exchange, {"instances": [tiny.SAMPLE[0]]})
        done = waiting.done()
        assert online.store.held is not None
        online.store.held.set()
        return done or other != 200, await waiting

    assert asyncio.run(both()) == (False, 200)


async def _v1(exchange: Any, document: dict[str, Any]) -> int:
    from serving.v1 import V1Body

    reply = await exchange.answer(exchange.head("v1", tiny.NAME), lambda: V1Body(json.dumps(document).encode()))
    status: int = reply.status
    return status


def test_too_many_requests_that_wait_are_refused_at_once(online: Online):
    online.store.held = threading.Event()

    async def many() -> list[int]:
        asked = [asyncio.create_task(_v1(online.server.exchange, {"entity": "c1"})) for _ in range(70)]
        await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
        refused = sum(task.done() for task in asked)
        assert online.store.held is not None
        online.store.held.set()
        return [refused, *await asyncio.gather(*asked)]

    refused, *statuses = asyncio.run(many())
    assert refused == statuses.count(503) == 6
    assert statuses.count(200) == 64


def test_a_feature_of_the_request_is_never_looked_up(online: Online):
    server = online.lookups._server
    online.server.exchange.lookups = Lookups(server, ["usage"], clock_ns=lambda: _us(NOW) * 1000)
    without = online.ask("v1", Question([{}], entity="c1"))
    given_it = online.ask("v1", Question([{"usage": 1.0}], entity="c1", return_features=True))

    assert without.status == 400
    assert "feature 'usage' is absent; expected ['usage']." in without.error
    assert given_it.served[0]["features"] == {"usage": 1.0, "active": True, "plan": "plus"}


def test_a_release_without_views_and_a_server_without_lookups_refuse_what_is_left_out(
    online: Online, packages: dict[str, Path]
):
    online.server.exchange.lookups = None
    off = online.ask("v1", Question([{}], entity="c1"))
    online.server.exchange.lookups = online.lookups
    online.server.served.activate(ServedRelease(packages["old"], tiny.NAME, "1"))
    old = online.ask("v1", Question([{}], entity="c1"))

    assert off.status == old.status == 400
    assert "feature 'active' is absent" in off.error
    assert not online.store.asked


def test_features_are_looked_up_for_the_release_that_answers_though_the_routing_changes_meanwhile(
    online: Online, packages: dict[str, Path]
):
    served = online.server.served
    served.loaded["2"] = ServedRelease(packages["1"], tiny.NAME, "2")
    online.store.held = threading.Event()

    async def switched() -> Any:
        from serving.v1 import V1Body

        exchange = online.server.exchange
        asked = asyncio.create_task(exchange.answer(exchange.head("v1", tiny.NAME), lambda: V1Body(b'{"entity":"c1"}')))
        await asyncio.sleep(0)
        served.route(Routing.to("2"))
        assert online.store.held is not None
        online.store.held.set()
        content = (await asked).content
        assert content is not None
        return json.loads(content.body)

    answer = asyncio.run(switched())
    assert answer["model_version"] == "1"
    assert answer["predictions"][0]["score"] == pytest.approx(
        tiny.score({"usage": 2.5, "active": True, "plan": "plus"}), abs=1e-6
    )


@every_protocol
def test_the_log_has_the_features_as_served_and_their_event_times(online: Online, tmp_path: Path, protocol: str):
    online.server.exchange.log = log = InferenceLog(tmp_path / "log", LogPolicy(), flush_s=1000)
    online.ask(protocol, Question([{}, {}], entity=["c1", "new"]))
    online.ask(protocol, Question(list(tiny.SAMPLE), entity="c1"))
    log.close()

    lines = [line for path in segments.wal(tmp_path / "log").iterdir() for line in path.read_bytes().splitlines()[1:]]
    looked_up_, sent = map(json.loads, lines)
    contract = _us(NOW - timedelta(days=400))
    assert [json.loads(text) for text in looked_up_["feature_times_us"]] == [
        {"use": _us(NOW - timedelta(hours=1)), "contract": contract},
        {"use": None, "contract": contract},
    ]
    assert looked_up_["entity"] == ["c1", "new"]
    assert looked_up_["received"] == {"usage": [2.5, None], "active": [True, True], "plan": ["plus", "plus"]}
    assert "feature_times_us" not in sent


def test_an_integer_entity_is_looked_up_as_one_and_a_text_is_unknown(online: Online, tmp_path: Path):
    package = tiny.package(tmp_path / "numbered", views=VIEWS)
    facts = ServedRelease(package, tiny.NAME, "1")
    assert facts.feature_views is not None
    facts.feature_views = facts.feature_views.model_copy(update={"entity_type": "integer"})
    online.server.served.activate(facts)
    online.store.rows = {view: {17: row["c1"]} for view, row in online.store.rows.items()}

    answers = [online.ask("v1", Question([{}], entity=who)) for who in (17, "17", "x", str(2**63))]

    assert [answer.status for answer in answers] == [200, 200, 404, 404]
    assert [question["entities"] for question in online.store.asked] == [{"customer": [17]}] * 2


@pytest.mark.parametrize("address", ["feature-server:6566", "ftp://host", "http://"])
def test_an_address_that_is_none_is_refused_at_the_start(address: str):
    with pytest.raises(InputError, match="expected http://host:port"):
        FeatureServer(address, 1.0)


FEATURES = {
    "usage": FeatureFacts(name="usage", type="numeric", missing=True),
    "active": FeatureFacts(name="active", type="boolean", missing=True),
    "plan": FeatureFacts(name="plan", type="categorical", missing=True),
}


def use(row: StoredRow | None, moment_us: int, feature: str = "usage", ttl_s: float = 10.0) -> looked_up.LookedUp:
    """Return what may be used of one row of a view of one feature."""
    view = FeatureViewFacts(name="view", features=(feature,), ttl_s=ttl_s)
    return looked_up.usable([view], FEATURES, {"view": [row]}, ["c1"], moment_us)


@given(age_us=st.integers(0, 30_000_000), ttl_s=st.sampled_from([0.0, 0.5, 10.0, 20.000001]))
def test_a_row_is_used_until_its_event_time_plus_the_ttl_inclusive_and_forever_without_one(age_us: int, ttl_s: float):
    [value] = use(StoredRow(1_000, {"usage": 1.0}), 1_000 + age_us, ttl_s=ttl_s).columns["usage"]

    assert (value == 1.0) == (ttl_s == 0 or age_us <= round(ttl_s * 1e6))


@given(ahead_us=st.integers(1, 10**12))
def test_a_row_of_the_future_is_never_used(ahead_us: int):
    with pytest.raises(RequestRefused, match="has the newest rows only") as refused:
        use(StoredRow(1_000 + ahead_us, {"usage": 1.0}), 1_000, ttl_s=0)
    assert (refused.value.status, refused.value.reason) == (409, "newer_row")


@pytest.mark.parametrize(
    "feature, stored_value, served",
    [
        ("usage", 3, 3), ("usage", True, 1), ("usage", "NaN", None), ("usage", "Infinity", 3.4028234663852886e38),
        ("usage", -1e300, -3.4028234663852886e38), ("active", 1, True), ("active", 0.0, False),
        ("active", False, False), ("plan", 3, "3"), ("plan", 2.5, "2.5"), ("plan", True, "true"),
        ("plan", " plus ", "plus"), ("plan", "", None),
    ],
)  # fmt: skip
def test_a_stored_value_becomes_what_training_made_of_it(feature: str, stored_value: Any, served: Any):
    [value] = use(StoredRow(0, {feature: stored_value}), 0, feature).columns[feature]

    assert (value, type(value)) == (served, type(served))
    assert feature != "plan" or (value or "") == category_text(stored_value)


@pytest.mark.parametrize("feature, stored_value", [("usage", "many"), ("active", 2), ("active", "yes"), ("usage", [1])])
def test_a_stored_value_of_another_type_is_refused(feature: str, stored_value: Any):
    with pytest.raises(RequestRefused, match=f"feature '{feature}' of entity 'c1' is .* in the online store"):
        use(StoredRow(0, {feature: stored_value}), 0, feature)


def test_openapi_lets_a_request_leave_out_what_can_be_looked_up(online: Online):
    lookups = online.lookups
    some = Lookups(lookups._server, ["usage"])
    release = online.server.served.active
    assert release is not None

    off, on, most = (
        openapi.described(release, lookable)["components"]["schemas"]
        for lookable in (frozenset(), lookups.lookable(release), some.lookable(release))
    )

    required = [(set(schemas["row"]["required"]), schemas["v1_request"]["required"]) for schemas in (off, on, most)]
    assert required == [(set(FEATURES), ["instances"]), (set(), []), ({"usage"}, ["instances"])]
    assert [schemas["v2_request"]["properties"]["inputs"]["minItems"] for schemas in (off, on, most)] == [3, 0, 1]


def test_a_version_whose_features_cannot_be_looked_up_is_counted_as_refusing(online: Online):
    online.server.exchange.counter.always("1")
    online.store.rows.clear()

    refused = online.ask("v1", Question([{}], entity="c1"))

    counts = online.server.exchange.counter.read().versions["1"]
    assert refused.status == 503
    assert (counts.answered, counts.refused, counts.failed) == (0, 1, 0)


def test_more_rows_than_are_completed_at_once_are_refused(online: Online):
    few = Lookups(FeatureServer("http://127.0.0.1:9", 5.0), most_rows=2, clock_ns=lambda: _us(NOW) * 1000)
    online.server.exchange.lookups = few

    answer = online.ask("v1", Question([{}] * 3, entity="c1"))

    assert (answer.status, "3 rows; at most 2 are looked up at once" in answer.error) == (413, True)
    few.close()
