"""A faulty candidate under load is taken back by itself, in a shadow without any failed request of a client."""

import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest

from components.shared import inference
from components.shared.documents.release import RegisteredVersion
from components.shared.documents.traffic_counts import TrafficCounts
from components.shared.errors import StepFailed
from components.shared.release.driver import Progress, ReleaseDriver
from components.shared.release.file_journal import FileJournalStore
from components.shared.release.folder import FolderTraffic
from components.shared.release.pace import Pace
from components.shared.release.plan import Plan, PlanStep
from components.shared.release.routing import Routing
from components.shared.release.sample import Sample
from pipelines.targets.local import endpoint as local
from serving.counting import TrafficCounter
from serving.exchange import ScoredRequest
from serving.shadows import mirrored
from serving.signature import EncodedRows
from tests.serving import tiny
from tests.serving.four_protocols import Question, ServerInProcess
from tests.serving.test_rollout import PYTHON, ROOT, until

CANARY = Plan(strategy="canary", steps=(PlanStep(share=20, min_requests=10**9), PlanStep(share=100)))
SHADOW = Plan(strategy="shadow", steps=(PlanStep(share=0, mirrored=True, min_requests=10**9), PlanStep(share=100)))


class Alias:
    """The registry's part, in memory."""

    def __init__(self) -> None:
        self.version: str | None = "1"
        self.harmful: dict[str, str] = {}

    def champion(self, name: str) -> str | None:
        return self.version

    def move(self, name: str, version: str | None) -> None:
        self.version = version

    def take_back(self, name: str, version: str, reason: str) -> None:
        self.harmful[version] = reason

    def withdraw(self, release: RegisteredVersion, reason: str) -> None:
        pass


class Clients:
    """Two clients that send varied rows of many customers until they are ended, and note every answer."""

    def __init__(self, url: str) -> None:
        self.url, self.ended = url, threading.Event()
        self.answers: list[tuple[int, str | None]] = []
        self.threads = [threading.Thread(target=self._ask, args=(seed,)) for seed in range(2)]

    def __enter__(self) -> "Clients":
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self.ended.set()
        for thread in self.threads:
            thread.join()

    def _ask(self, seed: int) -> None:
        rng, address = random.Random(seed), urlsplit(self.url)
        connection = HTTPConnection(address.hostname or "", address.port, timeout=20)
        while not self.ended.is_set():
            row = {"usage": rng.uniform(-60, 60), "active": rng.random() < 0.5, "plan": rng.choice(["basic", "plus"])}
            body = json.dumps({"instances": [row], "entity": f"customer-{rng.randrange(10_000)}"})
            connection.request("POST", f"/v1/models/{tiny.NAME}:predict", body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            document = json.loads(response.read())
            self.answers.append((response.status, document.get("model_version")))
            time.sleep(0.004)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[local.Running]:
    options = [f"--log-dir={tmp_path / 'log'}"]
    with local.start(tiny.released(tmp_path), python=PYTHON, source=ROOT, grpc_port=None, options=options) as server:
        yield server


def driver(running: local.Running, root: Path, alias: Alias, **package: Any) -> tuple[ReleaseDriver, RegisteredVersion]:
    """Make version 2 and what releases it."""
    manifests = tiny.release(root / "release2", tiny.package(root / "model2", **package), "2")
    traffic = FolderTraffic(running.endpoint, Pace(start_s=30, route_s=30, poll_s=0.02), manifests)
    store = FileJournalStore(running.endpoint)
    made = ReleaseDriver(traffic, alias, store, lambda release: Sample.of(release, None))
    return made, RegisteredVersion.read(manifests)


def watched(made: ReleaseDriver, limit_s: float = 20.0) -> Progress:
    """Look every tenth of a second until the release has ended."""
    end = time.monotonic() + limit_s
    while True:
        progress = made.advance(datetime.now(UTC))
        assert progress is not None and time.monotonic() < end, progress
        if progress.outcome != "waiting":
            return progress
        time.sleep(0.1)


@pytest.mark.parametrize("plan", [CANARY, SHADOW], ids=["canary", "shadow"])
@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("nan", "fails more requests"),
        ("constant", "answers with other scores"),
        ("slow", "is slow more often"),
        ("units", "answers with other scores"),
    ],
)
def test_a_fault_that_the_sample_does_not_show_is_found_under_load(
    tmp_path: Path, running: local.Running, plan: Plan, fault: tiny.Fault, sentence: str
):
    alias = Alias()
    made, candidate = driver(running, tmp_path, alias, fault=fault)
    with Clients(running.server.rest_url) as clients:
        until(lambda: len(clients.answers) > 300)
        assert made.release(candidate, plan) == "waiting"
        progress = watched(made)
        after = len(clients.answers)
        until(lambda: len(clients.answers) > after + 50)

    assert (progress.outcome, progress.harmful) == ("rolled back", True)
    assert sentence in progress.reason and alias.harmful == {"2": progress.reason}
    assert {version for _, version in clients.answers[after + 10 :]} == {"1"}, "the champion answers everything again"
    refused = sum(status != 200 for status, _ in clients.answers)
    assert refused == 0 or (fault == "nan" and plan is CANARY)
    assert progress.journal.exposure is not None
    assert refused <= progress.journal.exposure.candidate.requests


def test_a_candidate_that_crashes_when_it_is_loaded_never_gets_a_request(tmp_path: Path, running: local.Running):
    made, candidate = driver(running, tmp_path, Alias())
    (tmp_path / "model2" / "model.onnx").write_bytes(b"not a model")

    with Clients(running.server.rest_url) as clients, pytest.raises(StepFailed, match="can't load release 2"):
        made.release(candidate, CANARY)

    assert set(clients.answers) <= {(200, "1")}


@pytest.mark.parametrize("strategy", ["canary", "shadow"])
def test_a_sound_candidate_goes_through_its_steps_and_no_request_is_lost(
    tmp_path: Path, running: local.Running, strategy: str
):
    steps = {
        "canary": (PlanStep(share=20, min_requests=40), PlanStep(share=60, min_requests=40), PlanStep(share=100)),
        "shadow": (PlanStep(share=0, mirrored=True, min_requests=100), PlanStep(share=100)),
    }[strategy]
    alias = Alias()
    made, candidate = driver(running, tmp_path, alias, bias=0.3)
    with Clients(running.server.rest_url) as clients:
        until(lambda: len(clients.answers) > 20)
        assert made.release(candidate, Plan(strategy=strategy, steps=steps)) == "waiting"
        while (progress := watched(made)).outcome == "next step":
            pass
        after = len(clients.answers)
        until(lambda: len(clients.answers) > after + 50)

    assert (progress.outcome, alias.version) == ("released", "2")
    assert {status for status, _ in clients.answers} == {200}
    assert clients.answers[-1] == (200, "2")


def test_a_shadow_s_answers_are_logged_and_compared_but_given_to_nobody(tmp_path: Path, running: local.Running):
    made, candidate = driver(running, tmp_path, Alias(), bias=2.0)
    made.release(candidate, SHADOW)
    url = running.server.rest_url
    rows = [{"usage": usage, "active": False, "plan": "basic"} for usage in (-20.0, 0.0, 20.0)]

    counts = counted(url, lambda counts: "2" in counts.shadows)
    answers: list[dict[str, Any]] = []
    # The server follows its folder within a moment, so the first requests may have no shadow.
    while counts.shadows["2"].rows < 15:
        answers.append(inference.predict(url, tiny.NAME, rows, request_id=f"r{len(answers)}"))
        counts = counted(url, lambda _: True)
    running.stop()
    logged = lines_of(tmp_path / "log")
    ids = {version: {line["id"] for release, line in logged if release == version} for version in ("1", "2")}

    assert {answer["model_version"] for answer in answers} == {"1"}
    # Scores of 0.05, 0.27, 0.73 against 0.27, 0.73, 0.95, at a threshold of 0.6: one row of three differs.
    assert counts.shadows["2"].disagreements * 3 == counts.shadows["2"].rows
    assert {(release, line.get("shadow", False)) for release, line in logged} == {("1", False), ("2", True)}
    assert ids["1"] == {f"r{n}" for n in range(len(answers))} and len(ids["2"]) >= 5
    assert ids["2"] < ids["1"] or ids["2"] == ids["1"], "paired by the request's id"


def test_counts_go_on_when_the_shares_change_and_begin_anew_for_other_versions():
    counter = TrafficCounter()
    counter.follow(frozenset({"1", "2"}), "1")
    counter.answered("2", 0.001, np.array([0.5]))
    before = counter.read()

    # At equal shares the candidate may be the first of the two.
    counter.follow(frozenset({"1", "2"}), "2")
    assert counter.read() == before and before.versions["2"].answered == 1

    counter.follow(frozenset({"1"}), "1")
    assert counter.read().versions == {}
    counter.answered("1", 0.001, np.array([0.5]))
    assert counter.read().versions == {}, "one version is not counted"


def test_a_pod_counts_its_one_version_in_ranges_that_are_the_same_in_every_pod():
    pods = TrafficCounter(), TrafficCounter()
    for pod, scores in zip(pods, ([0.1, 0.999], [-1e9, 1e9]), strict=True):
        pod.always("1")
        pod.answered("1", 0.001, np.array(scores))
        pod.refused("1", "bug")

    one, other = (pod.read() for pod in pods)

    assert one.server != other.server and one.score_edges == other.score_edges
    assert (one.versions["1"].answered, one.versions["1"].failed) == (1, 1)
    assert other.versions["1"].scores[0] == other.versions["1"].scores[-1] == 1, "beyond all edges"
    assert not pods[0].counts("1", f"{inference.PROBE}x") and pods[0].counts("1", "r")


def test_answers_that_wait_are_counted_before_anybody_reads():
    pods = TrafficCounter(), TrafficCounter()
    scores = np.random.default_rng(7).normal(size=(300, 2)) * 10
    latencies_s = [0.0001 * 2 ** (number % 12) for number in range(300)]
    for pod in pods:
        pod.always("1")

    for number, latency_s in enumerate(latencies_s):
        pods[0].answered("1", latency_s, scores[number])
        pods[1].answered("1", latency_s, scores[number])
        pods[1].read()

    together, singly = (pod.read().versions["1"] for pod in pods)
    assert together == singly
    assert (together.answered, sum(together.latencies), sum(together.scores)) == (300, 300, 600)


def test_probes_and_requests_for_one_version_are_no_evidence(tmp_path: Path, running: local.Running):
    made, candidate = driver(running, tmp_path, Alias())
    made.release(candidate, CANARY)
    url = running.server.rest_url

    inference.predict(url, tiny.NAME, list(tiny.SAMPLE), request_id=f"{inference.PROBE}x")
    inference.predict(url, tiny.NAME, list(tiny.SAMPLE), version="2")

    assert [counts.requests for counts in counted(url, lambda _: True).versions.values()] == [0, 0]


def counted(url: str, enough: Callable[[TrafficCounts], bool]) -> TrafficCounts:
    def read() -> TrafficCounts:
        return TrafficCounts.parse(inference.call(url, f"/v2/models/{tiny.NAME}/stats")[1], "the server")

    until(lambda: enough(read()))
    return read()


def lines_of(log: Path) -> list[tuple[str, dict[str, Any]]]:
    """Return each logged request with its release, without those that test a release."""
    found = []
    for segment in (log / "wal").glob("*.jsonl"):
        header, *lines = map(json.loads, segment.read_text().splitlines())
        found += [(header["release"], line) for line in lines if not line["id"].startswith(inference.PROBE)]
    return found


def test_what_a_shadow_waits_for_is_not_its_own_time(tmp_path, monkeypatch):
    """Under load it waits for the thread that answers; a server that is busy would take every shadow back as slow."""
    server = ServerInProcess(tmp_path, {"1": 0.0, "2": 0.1})
    log = Kept()
    server.exchange.log, routing = log, Routing(shares={"1": 100, "2": 0}, mirrors=("2",))
    mirrored(server.exchange)(routing)
    server.served.route(routing)
    release = server.served.loaded["2"]
    score = release.score

    def waiting(encoded: EncodedRows) -> np.ndarray:
        time.sleep(0.2)
        return score(encoded)

    monkeypatch.setattr(release, "score", waiting)
    answer = server.v1(Question([dict(tiny.SAMPLE[0])]))
    until(lambda: len(log.rows) == 2)

    assert answer.status == 200
    assert [row.release.version for row in log.rows] == ["1", "2"] and log.rows[1].latency_s < 0.1


class Kept:
    """A log in memory."""

    def __init__(self) -> None:
        self.rows: list[ScoredRequest] = []

    def append(self, scored: ScoredRequest) -> None:
        self.rows.append(scored)

    def close(self) -> None:
        """Everything is in memory."""
