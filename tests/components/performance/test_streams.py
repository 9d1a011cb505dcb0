"""Half a year of a simulated stream, looked at by drift and performance as the pipeline does."""

import pytest

from components.shared.incidents.store import is_incident
from pipelines.bench import detection


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    """What monitoring said of one stream of some kinds."""
    kinds = ("nothing", "wrong sign", "harmless covariate shift", "segment damage", "another unit")
    return {kind: detection.watch(detection.KINDS[kind], 11, tmp_path_factory.mktemp("stream")) for kind in kinds}


def test_where_nothing_changes_there_is_no_alarm_and_nearly_every_week_is_quiet(watched):
    assert watched["nothing"].alarms == []
    signals = watched["nothing"].signals
    assert len(signals) == 26 and sum(not found for found in signals.values()) >= 24


def test_a_column_that_comes_with_the_wrong_sign_raises_an_alarm_within_days_of_the_break(watched):
    assert detection.CHANGE <= watched["wrong sign"].alarms[0] <= detection.CHANGE + 3


def test_a_shift_that_costs_nothing_is_seen_from_its_first_week_on_and_raises_no_alarm(watched):
    shifted = watched["harmless covariate shift"]

    assert shifted.alarms == [] and not any(is_incident(said) for said in shifted.decisions.values())
    assert [end for end, found in shifted.signals.items() if found == {"input drift"}] == [*range(98, 183, 7)]


def test_damage_in_a_segment_is_named_within_three_weeks(watched):
    found = [end for end, signals in watched["segment damage"].signals.items() if "segment loss" in signals]

    assert detection.CHANGE < found[0] <= detection.CHANGE + 21
    reasons = watched["segment damage"].decisions[found[0]].reasons
    assert any("the loss has risen where group = c" in reason for reason in reasons)


def test_a_column_in_another_unit_is_an_incident_of_its_first_week_and_names_the_column(watched):
    decision = watched["another unit"].decisions[98]

    assert is_incident(decision) and decision.cause == "upstream"
    [inputs] = [signal.sentence for signal in decision.signals if signal.name == "input drift"]
    assert "inputs differ from the reference: x1 (" in inputs
