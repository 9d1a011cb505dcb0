"""The simulated business is one business: any period of it is a window on the same customers, and faults stay apart."""

from datetime import date, datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from components.shared.errors import InputError
from components.shared.files import sha256
from pipelines.simulator import SWITCHES, Switch, parse_switch, write
from pipelines.simulator.switches import resolve

SPRING = date(2024, 3, 1)


def simulate(folder: Path, *switches: Switch, customers: int = 1500, start: date = SPRING, months: int = 4):
    """Write a period and return its tables."""
    write(folder, customers=customers, start=start, months=months, seed=7, switches=switches)
    return {path.stem: pq.read_table(path) for path in sorted(folder.glob("*.parquet"))}


def ask(query: str, **tables):
    """Answer a query over Arrow tables."""
    with duckdb.connect() as connection:
        for name, table in tables.items():
            connection.register(name, table)
        return connection.execute(query).fetchall()


def test_equal_seeds_give_equal_bytes_and_another_seed_another_business(tmp_path):
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        write(tmp_path / name, customers=300, start=SPRING, months=2, seed=seed)

    assert sha256(tmp_path / "a") == sha256(tmp_path / "b")
    assert sha256(tmp_path / "a") != sha256(tmp_path / "c")


@pytest.mark.parametrize("table", ["usage", "contacts"])
def test_consecutive_periods_put_together_are_the_longer_period(tmp_path, table):
    whole = simulate(tmp_path / "whole", months=4)[table]
    early = simulate(tmp_path / "early", months=2)[table]
    late = simulate(tmp_path / "late", start=date(2024, 5, 1), months=2)[table]
    known = pc.field("known_at") >= datetime(2024, 5, 1)

    assert whole.filter(known).equals(late)
    assert whole.filter(~known).equals(early)
    assert len(early) > 0


def test_a_later_period_has_the_labels_of_the_longer_run(tmp_path):
    whole = simulate(tmp_path / "whole", months=4)["labels"]
    late = simulate(tmp_path / "late", start=date(2024, 5, 1), months=2)["labels"]

    assert whole.filter(pc.field("snapshot_at") >= datetime(2024, 5, 1)).equals(late)


def test_a_label_is_null_exactly_when_it_comes_after_the_period(tmp_path):
    labels = simulate(tmp_path)["labels"]
    end = datetime(2024, 7, 1)
    times = labels["snapshot_at"].to_pylist()

    assert labels["churned"].is_null().to_pylist() == [time + timedelta(days=30) > end for time in times]
    assert 0 < labels["churned"].null_count < len(labels)


def test_every_customer_of_a_period_has_a_profile_even_if_it_is_older_than_the_period(tmp_path):
    tables = simulate(tmp_path, months=2)

    for name in ("usage", "contacts", "labels"):
        assert ask(f"SELECT count(*) FROM {name} ANTI JOIN profiles USING (customer_id)", **tables) == [(0,)]
    assert pc.min(tables["profiles"]["valid_from"]).as_py().year < 2023


def test_the_customers_of_a_small_business_are_the_first_of_a_large_one(tmp_path):
    small = simulate(tmp_path / "small", customers=200)["usage"]
    large = simulate(tmp_path / "large", customers=500)["usage"]

    assert large.filter(pc.field("customer_id") < "C0000200-000").sort_by("known_at").equals(small.sort_by("known_at"))


def test_profiles_change_slowly(tmp_path):
    profiles = simulate(tmp_path, months=2)["profiles"]
    query = """
        SELECT count(*) FILTER (valid_from > joined_at AND valid_from >= '2024-04-01') / count(DISTINCT customer_id)
        FROM profiles WHERE joined_at < '2024-04-01'
    """

    assert 0.02 < ask(query, profiles=profiles)[0][0] < 0.1


def test_text_holds_characters_outside_ascii_and_values_are_missing_here_and_there(tmp_path):
    tables = simulate(tmp_path)

    assert not all(text.isascii() for text in tables["profiles"]["region"].unique().to_pylist())
    for name, column in (("profiles", "device"), ("usage", "data_gb"), ("contacts", "satisfaction")):
        assert 0 < tables[name][column].null_count < len(tables[name])


def test_what_became_known_before_a_fault_starts_is_as_without_it(tmp_path):
    sound = simulate(tmp_path / "sound", months=8)
    since = date(2024, 5, 1)
    before = {"usage": "month", "contacts": "contacted_at", "labels": "snapshot_at", "profiles": "valid_from"}
    for name in sorted(set(SWITCHES) - {"schema-change"}):
        faulty = simulate(tmp_path / name, Switch(name, since), months=8)
        for table, column in before.items():
            early = pc.field(column) < datetime(2024, 5, 1)
            assert sound[table].filter(early).equals(faulty[table].filter(early)), (name, table)
        assert any(not sound[table].equals(faulty[table]) for table in before), name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sudden-drift", [2, 2, 2, 2, 2, 2, 2, 2]),
        ("gradual-drift", [2 ** (k / 6) for k in (1, 2, 3, 4, 5, 6, 6, 6)]),
        ("recurring-drift", [2, 2, 2, 1, 1, 1, 2, 2]),
        ("season", [1, 1, 1, 1.5, 1.5, 1.5, 1, 1]),
    ],
)
def test_drift_changes_data_usage_in_its_own_rhythm(tmp_path, name, expected):
    query = "SELECT median(data_gb) FROM usage WHERE month >= '2024-03-01' GROUP BY month ORDER BY month"
    months = 9  # The ninth month's usage is known only after the period.
    sound = ask(query, usage=simulate(tmp_path / "sound", months=months)["usage"])
    drifted = ask(query, usage=simulate(tmp_path / "drift", Switch(name), months=months)["usage"])

    np.testing.assert_allclose([d[0] / s[0] for d, s in zip(drifted, sound, strict=True)], expected, rtol=0.12)


def test_concept_drift_turns_what_contract_means_and_leaves_the_contracts_alone(tmp_path):
    query = """
        SELECT contract, avg(churned), count(*) FROM labels
        JOIN (SELECT customer_id, arg_max(contract, valid_from) AS contract FROM profiles
              WHERE known_at < '2024-04-01' GROUP BY customer_id) USING (customer_id)
        WHERE snapshot_at < '2024-04-01' GROUP BY contract ORDER BY contract
    """
    sound = ask(query, **simulate(tmp_path / "sound", customers=6000, months=3))
    turned = ask(query, **simulate(tmp_path / "turned", Switch("concept-drift"), customers=6000, months=3))

    assert [row[2] for row in sound] == [row[2] for row in turned]
    assert sound[0][1] > 2 * sound[1][1]
    assert turned[1][1] > 2 * turned[0][1]


@pytest.mark.parametrize(
    ("name", "turned"),
    [
        ("concept-drift", [1.0] * 9),
        ("gradual-concept-drift", [0.25, 0.5, 0.75] + [1.0] * 6),
        ("recurring-concept-drift", [1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0]),
        ("sudden-drift", [0.0] * 9),
    ],
)
def test_effects_turn_round_in_the_rhythm_of_their_switch(name, turned):
    faults = resolve([Switch(name)], first_month=5)

    assert [faults.turned(month) for month in range(5, 14)] == turned
    assert faults.turned(4) == 0


def test_effects_that_turn_round_in_a_segment_leave_the_others_alone(tmp_path):
    query = """
        SELECT network = 'fibre' AS fibre, corr(churned, (contract = 'monthly')::INT) FROM labels
        JOIN (SELECT customer_id, arg_max(contract, valid_from) AS contract FROM profiles
              WHERE known_at < '2024-04-01' GROUP BY customer_id) USING (customer_id)
        JOIN (SELECT customer_id, arg_max(network, month) AS network FROM usage GROUP BY customer_id)
        USING (customer_id) WHERE snapshot_at < '2024-04-01' GROUP BY fibre ORDER BY fibre
    """
    sound = ask(query, **simulate(tmp_path / "sound", customers=6000, months=3))
    turned = ask(query, **simulate(tmp_path / "turned", Switch("segment-concept-drift"), customers=6000, months=3))

    assert turned[0] == pytest.approx(sound[0], abs=0.02)
    assert sound[1][1] > 0.05 and turned[1][1] < -0.05


def test_label_shift_changes_how_many_leave_and_keeps_everyone_who_does(tmp_path):
    query = "SELECT count(*) FILTER (churned = 1), count(*) FILTER (churned = 0) FROM labels"
    (sound,) = ask(query, labels=simulate(tmp_path / "sound")["labels"])
    (shifted,) = ask(query, labels=simulate(tmp_path / "shifted", Switch("label-shift"))["labels"])

    assert shifted[0] == sound[0]
    assert 0.25 < shifted[1] / sound[1] < 0.42


def test_a_correlation_shift_turns_the_correlation_and_keeps_each_column(tmp_path):
    query = """
        SELECT corr(ln(data_gb + 0.1), ln(minutes)), quantile_cont(minutes, [0.1, 0.5, 0.9]),
               quantile_cont(data_gb, [0.1, 0.5, 0.9])
        FROM usage WHERE month >= '2024-03-01'
    """
    (sound,) = ask(query, usage=simulate(tmp_path / "sound", customers=4000)["usage"])
    (turned,) = ask(query, usage=simulate(tmp_path / "turned", Switch("correlation-shift"), customers=4000)["usage"])

    assert sound[0] > 0.2
    assert turned[0] < -0.1
    np.testing.assert_allclose(turned[1], sound[1], rtol=0.04)
    np.testing.assert_array_equal(turned[2], sound[2])


def test_a_broken_column_is_a_thousand_times_too_large(tmp_path):
    query = "SELECT median(data_gb) FROM usage WHERE month >= '2024-03-01'"
    (sound,) = ask(query, usage=simulate(tmp_path / "sound")["usage"])
    (broken,) = ask(query, usage=simulate(tmp_path / "broken", Switch("broken-column"))["usage"])

    assert broken[0] == pytest.approx(1024 * sound[0])


def test_values_are_missing_in_one_segment_and_nowhere_else(tmp_path):
    usage = simulate(tmp_path, Switch("segment-missing"))["usage"]
    query = "SELECT network, avg((data_gb IS NULL)::INT) FROM usage WHERE month >= '2024-03-01' GROUP BY network"
    share = dict(ask(query, usage=usage))

    assert share["fibre"] == 1
    assert share["4G"] < 0.05
    assert share["5G"] < 0.05


def test_a_schema_change_renames_one_column_and_adds_one(tmp_path):
    sound = simulate(tmp_path / "sound", months=1)["usage"].column_names
    changed = simulate(tmp_path / "changed", Switch("schema-change"), months=1)["usage"].column_names

    assert set(sound) - set(changed) == {"minutes"}
    assert set(changed) - set(sound) == {"voice_minutes", "tariff_code"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"customers": 0}, "cannot simulate 0 customers"),
        ({"months": 0}, "cannot simulate 0 months"),
        ({"start": date(2022, 1, 1)}, "first day of a month, 2023-01-01 or later"),
        ({"start": date(2024, 1, 2)}, "first day of a month"),
        ({"seed": -1}, "the seed is -1"),
        ({"switches": [Switch("drfit")]}, "unknown switch 'drfit'"),
    ],
)
def test_what_cannot_be_simulated_is_refused_before_a_file_is_written(tmp_path, arguments, message):
    with pytest.raises(InputError, match=message):
        write(tmp_path / "out", **arguments)

    assert not (tmp_path / "out").exists()


def test_a_switch_is_written_with_or_without_its_month():
    assert parse_switch("label-shift") == Switch("label-shift")
    assert parse_switch("label-shift@2025-02") == Switch("label-shift", date(2025, 2, 1))
    for text in ("label-shift@soon", "nothing"):
        with pytest.raises(InputError, match=r"expected one of|has an invalid month"):
            parse_switch(text)
