"""A model that fails for one part of the rows is found there, and a part is not blamed for what all of them have."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from components.performance import losses
from components.performance.segments import SEGMENTS_MAX, Segments
from components.shared.documents.monitoring import SegmentLoss
from components.shared.project import Evaluation
from components.shared.sequential.budget import AlertBudget

FIRST = datetime(2026, 1, 1, tzinfo=UTC)
PARTS = (("plan",), ("plan", "region"))
RUN_LENGTH = AlertBudget().run_lengths({"loss": 2, "estimate": 1, "segments": 1})["segments"]


def made(days: int, seed: int, wrong: dict[str, float], per_day: int = 200) -> pa.Table:
    """Return labeled rows of three plans, wrong at a rate of .2 unless the plan has another from day 30 on."""
    rng = np.random.default_rng(seed)
    day = np.repeat(np.arange(days), per_day)
    plan = rng.choice(["basic", "plus", "pro"], len(day), p=[0.6, 0.25, 0.15])
    rate = np.where(day < 30, 0.2, [wrong.get(name, 0.2) for name in plan])
    label = rng.uniform(size=len(day)) < 0.4
    decision = label ^ (rng.uniform(size=len(day)) < rate)
    return pa.table(
        {
            "event_time": pa.array([FIRST + timedelta(days=int(d)) for d in day], pa.timestamp("us", "UTC")),
            "decision": np.where(decision, "yes", "no"),
            "label": np.where(label, "yes", "no"),
            "received.plan": plan,
            "received.region": rng.choice(["n", "s"], len(day)),
            "received.usage": rng.normal(size=len(day)),
        }
    )


def measured(now: pa.Table, parts: tuple[tuple[str, ...], ...] = PARTS, seed: int = 1) -> tuple[SegmentLoss, ...]:
    reference = made(90, seed, {})
    segments = Segments(reference, parts)
    before, after = losses.losses(reference, None), losses.losses(now, None)
    return segments.measure(now, before, after, increase=0.0, run_length=RUN_LENGTH * max(len(segments), 1))


def test_damage_in_one_part_is_found_there():
    now = made(90, 2, {"pro": 0.4})

    alarms = {tuple(part.where.values()): part.alarm for part in measured(now) if part.alarm}

    assert set(alarms) == {("pro",), ("pro", "n"), ("pro", "s")}
    assert "2026-01-31" < alarms[("pro",)] <= "2026-02-14"


def test_where_nothing_changes_no_part_raises_an_alarm():
    for seed in range(6):
        assert not [part for part in measured(made(180, seed + 50, {}), seed=seed) if part.alarm]


def test_rates_are_those_of_the_part():
    now = made(40, 2, {"pro": 0.4})
    inside = now.filter(pa.compute.equal(now["received.plan"], "pro"))
    wrong = np.mean(np.array(inside["label"].to_pylist()) != np.array(inside["decision"].to_pylist()))

    part = next(part for part in measured(now) if part.where == {"plan": "pro"})

    assert part.labeled == len(inside) and part.rate == pytest.approx(wrong)
    assert part.reference_rate == pytest.approx(0.2, abs=0.02)
    assert part.reference_rate < part.tolerated < 0.27


def test_a_part_without_rows_is_shown_and_never_an_alarm():
    now = made(40, 2, {})
    part = measured(now.filter(pa.compute.not_equal(now["received.plan"], "pro")), (("plan",),))[-1]

    assert (part.where, part.labeled, part.rate, part.alarm) == ({"plan": "pro"}, 0, None, None)


def test_a_number_is_cut_at_the_quartiles_of_the_reference():
    parts = measured(made(40, 2, {}), (("usage",),))

    assert len(parts) == 4 and all(part.labeled == pytest.approx(2000, rel=0.15) for part in parts)
    assert any(part.where["usage"].startswith("below -0.6") for part in parts)


def test_only_columns_that_are_logged_count_and_at_most_twenty_parts():
    assert measured(made(40, 2, {}), (("age",), ("plan", "age"))) == ()
    without = made(40, 2, {}).drop_columns(["received.region"])
    assert {tuple(part.where) for part in measured(without)} == {("plan",)}
    crossed = (("usage", "plan", "region"), ("usage", "plan"), ("usage", "region"))
    assert len(measured(made(40, 2, {}), crossed)) == SEGMENTS_MAX


def test_the_parts_of_a_project_are_its_slices_and_groups():
    evaluation = Evaluation(slices=("plan", ("plan", "region")), fairness=("gender", "plan"))

    assert evaluation.parts == (("plan",), ("plan", "region"), ("gender",))
