"""How often A/B tests of equal and of unequal versions find a difference, with one look a day; simulated.

``python -m pipelines.bench.ab TESTS SEED FOLDER`` prints counts as JSON. A test compares a rate of 30 %, 200 entities
of each version have an outcome per day, and a difference of 3 points is the smallest that would be worth a release.
"""

import json
import sys
from datetime import UTC, datetime, timedelta

import numpy as np

from components.shared.release.looks import looked
from components.shared.release.trial import Arm, Arms, Trial, TrialPlan, judge
from components.shared.sequential.group_sequential import information

RATE, EFFECT, PER_DAY = 0.3, 0.03, 200
PLAN = TrialPlan(smallest_effect=EFFECT)
_NOW = datetime(2026, 1, 1, tzinfo=UTC)
_MOST_DAYS = 365


def ab_test(effect: float, rng: np.random.Generator) -> tuple[str, int]:
    """Test until the verdict, day by day; return it and the entities of both versions."""
    trial, days, right = Trial(), 0, np.zeros(2)
    while days < _MOST_DAYS:
        days += 1
        right += rng.binomial(PER_DAY, [RATE, RATE + effect])
        arms = [_arm(days * PER_DAY, float(count)) for count in right]
        known = Arms(champion=arms[0], candidate=arms[1])
        trial = looked(PLAN, trial, known, _NOW + timedelta(days=days))
        if (verdict := judge(PLAN, trial)).outcome != "wait":
            return verdict.outcome, 2 * days * PER_DAY
    return "wait", 2 * days * PER_DAY


def _arm(entities: int, right: float) -> Arm:
    mean = right / entities
    return Arm(entities=entities, mean=mean, variance=mean * (1 - mean) * entities / (entities - 1))


def main(tests: int, seed: int) -> dict[str, float]:
    """Run tests of equal versions, and of versions that differ by the smallest effect."""
    rng = np.random.default_rng(seed)
    equal = [ab_test(0.0, rng) for _ in range(tests)]
    unequal = [ab_test(EFFECT, rng) for _ in range(tests)]
    return {
        "told_apart": sum(end in ("pass", "fail") for end, _ in equal),
        "found": sum(end == "pass" for end, _ in unequal),
        "entities": float(np.mean([entities for _, entities in unequal])),
        "planned": 4 * RATE * (1 - RATE) * information(EFFECT, PLAN.error, PLAN.power),
    }


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]), int(sys.argv[2]))))
