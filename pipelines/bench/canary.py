"""How often a canary that equals its champion is taken back, and how many requests harm needs to be found; simulated.

``python -m pipelines.bench.canary CANARIES SEED FOLDER`` prints counts as JSON. A canary gets 5 % of the requests and
is looked at after every 100. The requests of a test are compared with those of the sequential probability ratio test
that knows how much higher the odds of an error are.
"""

import json
import sys
from datetime import UTC, datetime
from math import log

import numpy as np

from components.shared.documents.traffic_counts import TrafficCounts, VersionCounts
from components.shared.release.analysis import CHECKS, Exposure, judge, look
from components.shared.release.plan import Limits, Plan, PlanStep
from components.shared.sequential.two_samples import OddsRise, log_mean

SHARE, LOOK, LOOKS = 0.05, 100, 60
ERRORS = 0.02
_STEP = PlanStep(share=5, min_requests=10**9)
_PLAN = Plan(strategy="canary", steps=(_STEP, PlanStep(share=100)))
_LATENCIES = np.array([0.01, 0.04, 0.3, 0.4, 0.15, 0.06, 0.03, 0.01])
_MOST_REQUESTS = 1_000_000
_TESTS = 400
_NOW = datetime(2026, 1, 1, tzinfo=UTC)


def false_rollbacks(canaries: int, rng: np.random.Generator) -> int:
    """Return how many canaries that equal their champion were taken back within ``LOOKS`` looks."""
    return sum(_taken_back(rng) for _ in range(canaries))


def requests_until_found(rng: np.random.Generator, factors: tuple[float, ...] | None, level: float) -> int:
    """Return the requests until twice the errors are found.

    Args:
        rng: Source of the counts.
        factors: Ratios of odds that are looked for; None are those of a release.
        level: Probability of finding what is not there.
    """
    rise = OddsRise() if factors is None else OddsRise(factors=factors)
    logs, requests = np.zeros(len(rise.factors)), 0
    while log_mean(list(logs)) < log(1 / level) and requests < _MOST_REQUESTS:
        mine = int(rng.binomial(LOOK, SHARE))
        events = int(rng.binomial(mine, 2 * ERRORS)), int(rng.binomial(LOOK - mine, ERRORS))
        logs += rise.log_values(events[0], mine, events[1], LOOK - mine)
        requests += LOOK
    return requests


def _taken_back(rng: np.random.Generator) -> bool:
    exposure = Exposure(step=0, began=_NOW)
    counts = {version: VersionCounts(scores=(0,) * 10) for version in ("1", "2")}
    for _ in range(LOOKS):
        mine = int(rng.binomial(LOOK, SHARE))
        counts = {"1": _more(counts["1"], LOOK - mine, rng), "2": _more(counts["2"], mine, rng)}
        seen = TrafficCounts(server="s", versions=counts)
        exposure = look(exposure, seen, former="1", candidate="2", limits=_PLAN.limits)
        if judge(_PLAN, _STEP, exposure, _NOW).outcome == "fail":
            return True
    return False


def _more(before: VersionCounts, requests: int, rng: np.random.Generator) -> VersionCounts:
    failed, refused = (int(n) for n in rng.multinomial(requests, [ERRORS, ERRORS, 1 - 2 * ERRORS])[:2])
    answered = requests - failed - refused
    latencies = np.array(before.latencies)
    latencies[2:10] += rng.multinomial(answered, _LATENCIES)
    scores = np.array(before.scores) + rng.multinomial(answered, np.full(10, 0.1))
    return VersionCounts(
        answered=before.answered + answered,
        failed=before.failed + failed,
        refused=before.refused + refused,
        latencies=tuple(latencies.tolist()),
        scores=tuple(scores.tolist()),
    )


def main(canaries: int, seed: int) -> dict[str, float]:
    """Measure both."""
    rng = np.random.default_rng(seed)
    level = Limits().false_rollbacks / len(CHECKS)
    known = (2 * ERRORS / (1 - 2 * ERRORS) / (ERRORS / (1 - ERRORS)),)
    return {
        "taken_back": false_rollbacks(canaries, rng),
        "requests": float(np.mean([requests_until_found(rng, None, level) for _ in range(_TESTS)])),
        "sprt_requests": float(np.mean([requests_until_found(rng, known, level) for _ in range(_TESTS)])),
    }


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]), int(sys.argv[2]))))
