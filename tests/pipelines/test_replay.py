"""A replay shows at each moment only what was known by then, and says what the loop was worth."""

from datetime import date, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.shared.errors import InputError
from pipelines.replay import page, playing, seeds
from pipelines.replay.outcome import ReplayOutcome, ReplayWeek
from pipelines.replay.scenarios import SCENARIOS, scenario
from pipelines.replay.treatment import Treatment
from pipelines.replay.world import World
from pipelines.simulator.switches import SWITCHES


def week(end: str, gain: float, never: float, oracle: float, **said: str) -> ReplayWeek:
    return ReplayWeek(end=f"{end}T00:00:00", rows=300, versions=("1",), gain=gain, never=never, oracle=oracle, **said)


CHANGED = ReplayOutcome(
    scenario="sudden",
    currency="EUR",
    changed="2025-05-01T00:00:00",
    weeks=(
        week("2025-04-29", 300, 300, 300, action="retrain"),
        week("2025-05-06", -100, -100, -100, action="watch"),
        week("2025-06-17", -100, -100, 100, action="retrain", cause="concept drift", released="2"),
        week("2025-06-24", 50, -100, 100, action="nothing"),
    ),
    seconds=300,
)


def test_every_scenario_is_a_fault_of_the_simulator_or_none():
    assert {s.switch for s in SCENARIOS.values()} - {None} <= set(SWITCHES)
    assert scenario("sudden").switches(date(2025, 5, 1))[0].since == date(2025, 5, 1)
    assert scenario("none").switches(date(2025, 5, 1)) == ()
    with pytest.raises(InputError, match="there is no scenario 'moon'; expected one of "):
        scenario("moon")


def test_the_tables_hold_what_was_known_at_the_moment_and_labels_that_were_not_are_null(tmp_path: Path):
    world = World.simulate(tmp_path / "world", date(2024, 1, 1), 6, (), seed=7)
    now = datetime(2024, 4, 1)

    nobody = Treatment(0.0, now, seed=7)
    world.publish(tmp_path / "seen", now, "customer_id", "snapshot_at", "churned", nobody)

    for name in ("profiles", "usage", "contacts"):
        seen, whole = (pq.read_table(tmp_path / folder / f"{name}.parquet") for folder in ("seen", "world"))
        assert max(seen["known_at"].to_pylist()) <= now < max(whole["known_at"].to_pylist())
    labels = pq.read_table(tmp_path / "seen" / "labels.parquet")
    known = [at <= now for at in labels["known_at"].to_pylist()]
    assert [label is not None for label in labels["churned"].to_pylist()] == known
    assert any(known) and not all(known)
    assert max(labels["snapshot_at"].to_pylist()) <= now


def test_weeks_do_not_overlap_and_a_rest_is_left_out():
    spans = list(playing.weeks(datetime(2025, 4, 1), datetime(2025, 4, 20)))

    assert spans == [
        (datetime(2025, 4, 1), datetime(2025, 4, 8)),
        (datetime(2025, 4, 8), datetime(2025, 4, 15)),
    ]


def test_what_the_loop_recovered_is_its_share_of_what_the_oracle_gains():
    # 150 of the 400 that the oracle is ahead of the model that is left alone.
    assert CHANGED.recovered == pytest.approx(150 / 400)
    assert CHANGED.found == "2025-06-17T00:00:00", "advice before the change finds nothing"
    assert [each.released for each in CHANGED.releases] == ["2"]


def test_where_the_oracle_gains_nothing_there_is_nothing_to_recover():
    quiet = CHANGED.model_copy(update={"changed": None, "weeks": CHANGED.weeks[:2]})

    assert (quiet.recovered, quiet.found) == (None, None)
    assert page.summary(quiet).startswith("Nothing changed. No new release.")


def test_the_page_shows_the_picture_and_every_week(tmp_path: Path):
    page.write(CHANGED, tmp_path / "replay.html")

    content = (tmp_path / "replay.html").read_text(encoding="utf-8")
    assert "<svg" in content and "http://" not in content.replace("http://www.w3.org", "")
    assert content.count("<tr>") == 1 + len(CHANGED.weeks)
    assert "found after 47 days" in content and "recovered 38% of what the oracle gains" in content


def test_only_who_would_leave_and_is_acted_on_after_the_change_may_stay():
    since = datetime(2025, 5, 1)
    keys = [("early", datetime(2025, 4, 30)), ("ann", since), ("bob", since), ("cid", since)]
    treatment = Treatment(1.0, since, seed=7)

    treatment.apply(keys, np.array([True, True, False, True]), np.array([True, True, True, False]))

    table = pa.table({"id": [key[0] for key in keys], "at": [key[1] for key in keys], "left": [1, 1, None, 0]})
    assert treatment.labels(table, "id", "at", "left")["left"].to_pylist() == [1, 0, None, 0]


def test_acting_persuades_the_share_that_was_asked_for():
    since = datetime(2025, 5, 1)
    keys = [(f"C{number}", since) for number in range(4000)]
    treatment, everybody = Treatment(0.6, since, seed=7), np.ones(4000, bool)

    treatment.apply(keys, everybody, everybody)

    table = pa.table({"id": [key[0] for key in keys], "at": [since] * 4000, "left": [1] * 4000})
    assert np.mean(treatment.labels(table, "id", "at", "left")["left"].to_pylist()) == pytest.approx(0.4, abs=0.03)


def test_scenarios_say_whether_anything_changes():
    assert {name for name, each in SCENARIOS.items() if not each.changes} == {"none", "season"}
    assert scenario("season").switches(date(2025, 5, 1))[0].since is None


def test_seeds_are_put_together_with_an_interval_from_five_on():
    better = CHANGED.model_copy(
        update={"weeks": tuple(each.model_copy(update={"gain": each.gain + 10}) for each in CHANGED.weeks)}
    )
    few = seeds.summarised([(7, CHANGED), (8, better)])
    many = seeds.summarised([(seed, CHANGED if seed % 2 else better) for seed in range(6)])

    assert [each.found_days for each in few.seeds] == [47, 47]
    assert few.advantage.value == pytest.approx((150 + 190) / 2) and few.advantage.low is None
    assert few.recovered is not None and few.recovered.value == pytest.approx((150 + 190) / 2 / 400)
    assert many.advantage.low is not None and many.advantage.high is not None
    assert 150 <= many.advantage.low < many.advantage.value < many.advantage.high <= 190
    assert "2 new releases in all" in seeds.sentence(few)
