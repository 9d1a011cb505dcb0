"""Half a year of a simulated stream, looked at by drift and performance as the pipeline does."""

import pytest

from pipelines.bench import detection


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    """Alarms and weekly signals by kind of stream."""
    kinds = ("nothing", "upstream break", "harmless covariate shift")
    return {kind: detection.watch(detection.KINDS[kind], 11, tmp_path_factory.mktemp("stream")) for kind in kinds}


def test_where_nothing_changes_there_is_no_alarm_and_nearly_every_week_is_quiet(watched):
    alarms, signals = watched["nothing"]

    assert alarms == []
    assert len(signals) == 26 and sum(not found for found in signals.values()) >= 24


def test_a_column_that_comes_with_the_wrong_sign_raises_an_alarm_within_days_of_the_break(watched):
    alarms, _ = watched["upstream break"]

    assert detection.CHANGE <= alarms[0] <= detection.CHANGE + 3


def test_a_shift_that_costs_nothing_is_seen_from_its_first_week_on_and_raises_no_alarm(watched):
    alarms, signals = watched["harmless covariate shift"]

    assert alarms == []
    assert [end for end, found in signals.items() if found == {"input drift"}] == [*range(98, 183, 7)]
