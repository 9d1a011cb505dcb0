"""A candidate is stopped for harm that is there, and for nothing else."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from components.shared.documents.traffic_counts import LATENCY_EDGES_MS, ShadowCounts, TrafficCounts, VersionCounts
from components.shared.release.analysis import Exposure, judge, look
from components.shared.release.plan import Limits, Plan, PlanStep

START = datetime(2026, 1, 1, tzinfo=UTC)
STEP = PlanStep(share=5, soak_s=60, min_requests=10**9)
PLAN = Plan(strategy="canary", steps=(STEP, PlanStep(share=100)))
QUICK, SLOW = np.array([0.02, 0.1, 0.5, 0.3, 0.06, 0.02]), np.array([0.0, 0.0, 0.0, 0.02, 0.1, 0.88])
"""Shares of the answers in the six latency ranges from 0.2 to 20 ms."""


class Server:
    """A server that sends 5 of 100 requests to version 2, each with one row, and counts."""

    def __init__(self, seed: int, **candidate: Any) -> None:
        self.rng = np.random.default_rng(seed)
        self.behaviour = {"1": {}, "2": candidate}
        self.counts = {version: VersionCounts(scores=(0,) * 10) for version in ("1", "2")}
        self.id = "first"

    def serve(self, requests: int) -> TrafficCounts:
        mine = int(self.rng.binomial(requests, 0.05))
        for version, number in (("2", mine), ("1", requests - mine)):
            self.counts[version] = self._after(self.counts[version], number, **self.behaviour[version])
        return TrafficCounts(server=self.id, versions=dict(self.counts))

    def restart(self) -> None:
        self.id = "second"
        self.counts = {version: VersionCounts(scores=(0,) * 10) for version in self.counts}

    def _after(
        self, before: VersionCounts, requests: int, failing: float = 0.002, latency: Any = QUICK, scores: Any = None
    ) -> VersionCounts:
        failed = int(self.rng.binomial(requests, failing))
        latencies = np.zeros(len(LATENCY_EDGES_MS) + 1, int)
        latencies[2:8] = self.rng.multinomial(requests - failed, latency)
        deciles = self.rng.multinomial(requests - failed, np.full(10, 0.1) if scores is None else scores)
        return VersionCounts(
            answered=before.answered + requests - failed,
            failed=before.failed + failed,
            latencies=tuple(int(n) for n in np.array(before.latencies) + latencies),
            scores=tuple(int(n) for n in np.array(before.scores) + deciles),
        )


def watched(server: Server, looks: int, per_look: int = 200) -> tuple[str, Exposure]:
    """Look again and again; return the last verdict's reason and what was known."""
    exposure = Exposure(step=0, began=START)
    for number in range(looks):
        exposure = look(exposure, server.serve(per_look), former="1", candidate="2", limits=PLAN.limits)
        verdict = judge(PLAN, STEP, exposure, START + timedelta(seconds=number))
        if verdict.outcome != "wait":
            return verdict.outcome + ": " + verdict.reason, exposure
    return "wait", exposure


def test_a_candidate_like_the_champion_is_left_alone_over_many_looks():
    outcomes = [watched(Server(seed), looks=60)[0] for seed in range(40)]

    assert outcomes.count("wait") >= 38, outcomes


@pytest.mark.parametrize(
    ("harm", "sentence", "requests"),
    [
        ({"failing": 1.0}, "it fails more requests than the champion", 20),
        ({"failing": 0.05}, "it fails more requests than the champion", 1000),
        ({"latency": SLOW}, r"it is slow more often than the champion \(above 10 ms: ", 60),
        ({"scores": np.eye(10)[3]}, "its commonest tenth of scores has 100% of the rows, the champion's 1", 60),
        ({"scores": np.array([0.55] + [0.05] * 9)}, "it answers with other scores than the champion", 600),
    ],
)
def test_harm_is_found_within_so_many_requests_of_the_candidate(harm, sentence, requests):
    for seed in range(5):
        outcome, exposure = watched(Server(seed, **harm), looks=300)

        assert re.match(f"fail: .*{sentence}", outcome), outcome
        assert exposure.candidate.requests <= requests


def test_a_better_model_may_score_differently():
    other = np.linspace(0.16, 0.04, 10)

    assert watched(Server(0, scores=other / other.sum()), looks=300)[0] == "wait"


def test_a_server_that_restarts_counts_anew_and_nothing_is_lost_or_counted_twice():
    server = Server(0)
    exposure = look(Exposure(step=0, began=START), server.serve(1000), former="1", candidate="2", limits=Limits())
    server.restart()
    exposure = look(exposure, server.serve(500), former="1", candidate="2", limits=Limits())
    again = look(exposure, server.serve(0), former="1", candidate="2", limits=Limits())

    assert exposure.candidate.requests + exposure.champion.requests == 1500
    assert again == exposure, "a look without requests changes nothing"


def test_the_next_step_counts_from_zero_with_the_evidence_of_the_steps_before():
    _, exposure = watched(Server(0, failing=0.01), looks=20)

    following = exposure.following(1, START + timedelta(seconds=20))

    assert following.candidate == VersionCounts() and following.step == 1
    assert following.evidence == exposure.evidence and following.slow_ms == exposure.slow_ms


def test_what_a_shadow_did_adds_up():
    counts = TrafficCounts(server="a", shadows={"2": ShadowCounts(rows=10, disagreements=3)})
    exposure = look(Exposure(step=0, began=START), counts, former="1", candidate="2", limits=Limits())
    again = look(exposure, counts, former="1", candidate="2", limits=Limits())

    assert again.shadow == ShadowCounts(rows=10, disagreements=3)
