"""A model that acts in vain is found by the rows that it acts on, although hardly more of all rows are wrong."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.performance import losses, positives
from components.shared.documents.monitoring import SegmentLoss
from components.shared.sequential.e_detector import EDetector

FIRST, CHANGE = datetime(2026, 1, 1, tzinfo=UTC), 30
RUN_LENGTH, PER_DAY = 2920.0, 50


def rows(days: int, seed: int, precision: float, acted: float = 0.2) -> pa.Table:
    """Return rows of which some are acted on: rightly in three of ten, or at another rate from day 30 on.

    Of the others one in twenty is positive, and from day 30 on as many fewer as are no longer acted on rightly: the
    share of wrong answers among all rows stays.
    """
    rng = np.random.default_rng(seed)
    day = np.repeat(np.arange(days), PER_DAY)
    decision = rng.uniform(size=len(day)) < acted
    missed = 0.05 - (0.3 - precision) * acted / (1 - acted)
    share = np.where(decision, np.where(day < CHANGE, 0.3, precision), np.where(day < CHANGE, 0.05, missed))
    label = rng.uniform(size=len(day)) < share
    return pa.table(
        {
            "event_time": pa.array([FIRST + timedelta(days=int(d)) for d in day], pa.timestamp("us", "UTC")),
            "decision": np.where(decision, "yes", "no"),
            "label": np.where(label, "yes", "no"),
        }
    )


def measured(now: pa.Table, reference: pa.Table) -> tuple[SegmentLoss, ...]:
    before, after = losses.losses(reference, None), losses.losses(now, None)
    return positives.measure(reference, now, before, after, "yes", increase=0.0, run_length=RUN_LENGTH)


def alarm_of_all(now: pa.Table, reference: pa.Table) -> bool:
    e_values, _ = losses.e_values(losses.losses(reference, None), 0.0)
    detector = EDetector(e_values, RUN_LENGTH)
    days = zip(*losses.losses(now, None).by_day(), strict=True)
    return any([detector.observe(lost, labeled) for _, lost, labeled in days])


def test_acting_in_vain_is_found_where_all_rows_look_as_before():
    reference, now = rows(CHANGE, 1, 0.3), rows(60, 2, 0.1)

    (part,) = measured(now, reference)

    assert part.where == {"decision": "yes"}
    assert part.alarm is not None and "2026-01-31" < part.alarm <= "2026-02-21"
    assert part.changed_on is not None and "2026-01-24" <= part.changed_on <= "2026-02-07"
    assert not alarm_of_all(now, reference)


def test_rates_are_those_of_the_rows_with_the_positive_answer():
    reference, now = rows(CHANGE, 1, 0.3), rows(CHANGE, 2, 0.3)
    acted = now.filter(pc.equal(now["decision"], "yes"))["label"].to_pylist()

    (part,) = measured(now, reference)

    assert (part.labeled, part.rate) == (len(acted), acted.count("no") / len(acted))


def test_where_nothing_changes_nothing_is_found():
    for seed in range(8):
        (part,) = measured(rows(180, seed + 50, 0.3), rows(60, seed, 0.3))

        assert part.alarm is None and part.changed_on is None


def test_acting_rightly_more_often_is_no_alarm():
    (part,) = measured(rows(90, 2, 0.9), rows(CHANGE, 1, 0.3))

    assert part.alarm is None


def test_a_model_that_hardly_acts_is_not_tested():
    assert measured(rows(60, 2, 0.1), rows(CHANGE, 1, 0.3, acted=0.05)) == ()


def test_a_time_without_a_positive_answer_is_shown_and_never_an_alarm():
    (part,) = measured(rows(60, 2, 0.1, acted=0.0), rows(CHANGE, 1, 0.3))

    assert (part.labeled, part.rate, part.alarm) == (0, None, None)
