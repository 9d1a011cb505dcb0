"""A request that was sent what the offline path knew has no mismatch, and each planted skew is called by its name."""

from dataclasses import replace
from datetime import datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.shared.documents.skew import SkewReport
from components.shared.errors import InputError
from tests.components.feature_retrieval.tiny_project import Tiny, View, day
from tests.components.skew_audit.readings import FEATURES, Ask, Business, asks, audit, of, write

BUSINESS = Business()


def audited(root, answer) -> SkewReport:
    write(root / "log", asks(BUSINESS, answer))
    return audit(root, BUSINESS.project(root))


def names(report: SkewReport, feature: str) -> list[str]:
    return [f"{cause.name} {cause.detail}".strip() for cause in of(report, feature).causes]


def test_requests_that_carried_what_was_known_have_no_mismatch(tmp_path):
    report = audited(tmp_path, None)

    assert report.compared == report.rows == 600
    assert report.is_clean
    assert [(f.feature, f.rows, f.different, f.missing, f.extra, f.stale, f.causes) for f in report.features] == [
        (name, 600, 0, 0, 0, 0, ()) for name in sorted(FEATURES)
    ]
    assert {f.smape for f in report.features} == {0.0}
    table = pq.read_table(tmp_path / "report" / "offline.parquet")
    assert table.column_names == ["request_id", "row", "event_time", "release", *sorted(FEATURES)]
    assert SkewReport.read(tmp_path / "report") == report


@pytest.mark.parametrize("hours", [2, -5])
def test_an_offset_of_the_clock_is_named_with_its_hours(tmp_path, hours):
    report = audited(tmp_path, lambda who, at: BUSINESS.values(who, at + timedelta(hours=hours)))

    assert not report.is_clean
    for feature in ("usage", "amount", "visits", "balance"):
        assert names(report, feature) == [f"time zone {hours:+d} h"]
        assert of(report, feature).stale == 0


def test_a_missing_value_that_became_0_is_named(tmp_path):
    def filled(who: str, at: datetime) -> dict[str, float | None]:
        values = BUSINESS.values(who, at)
        return values | {"visits": values["visits"] or 0.0}

    report = audited(tmp_path, filled)

    visits = of(report, "visits")
    assert names(report, "visits") == ["null to 0"]
    assert visits.extra == visits.causes[0].rows > 200
    assert visits.different == visits.missing == 0
    assert [f.feature for f in report.features if f.mismatches] == ["visits"]


def test_another_value_for_missing_ones_is_named_with_it(tmp_path):
    def filled(who: str, at: datetime) -> dict[str, float | None]:
        values = BUSINESS.values(who, at)
        return values | {"visits": -1.0 if values["visits"] is None else values["visits"]}

    assert names(audited(tmp_path, filled), "visits") == ["null to constant -1"]


def test_rows_that_became_known_only_later_are_named(tmp_path):
    report = audited(tmp_path, lambda who, at: BUSINESS.values(who, at, late_rows=True))

    assert names(report, "usage") == names(report, "amount") == ["late row"]
    assert of(report, "usage").mismatches > 50
    assert of(report, "visits").mismatches == 0


def test_rows_that_became_known_later_for_some_people_are_named_beside_others_that_are_late(tmp_path):
    theirs = Business()
    theirs.readings = [
        replace(reading, created=reading.created + timedelta(days=9)) if reading.who in ("e1", "e2", "e3") else reading
        for reading in theirs.readings
    ]
    write(tmp_path / "log", asks(BUSINESS))

    report = audit(tmp_path, theirs.project(tmp_path))

    assert names(report, "usage") == names(report, "amount") == ["late row"]
    assert [feature.feature for feature in report.features if feature.mismatches] == ["amount", "usage"]


def test_another_unit_is_named_with_its_ratio(tmp_path):
    def scaled(who: str, at: datetime) -> dict[str, float | None]:
        values = BUSINESS.values(who, at)
        return values | {"amount": None if values["amount"] is None else values["amount"] * 1000}

    report = audited(tmp_path, scaled)

    assert names(report, "amount") == ["unit x 1000"]
    assert of(report, "amount").smape == pytest.approx(2 * 999 / 1001)
    assert of(report, "usage").mismatches == 0


def test_a_value_that_was_not_materialized_yet_is_stale_and_no_mismatch(tmp_path):
    def of_midnight(who: str, at: datetime) -> dict[str, float | None]:
        values = BUSINESS.values(who, datetime(at.year, at.month, at.day))
        # An online store ignores the time to live, which is another skew.
        return values | {"balance": BUSINESS.values(who, at)["balance"]}

    report = audited(tmp_path, of_midnight)

    assert report.is_clean
    assert names(report, "usage") == ["staleness"]
    assert of(report, "usage").stale > 100
    assert 12 < of(report, "usage").stale_longest_h < 24


def test_a_value_that_is_old_for_weeks_is_a_mismatch_by_staleness(tmp_path):
    report = audited(tmp_path, lambda who, at: BUSINESS.values(who, min(at, day(6))))

    assert of(report, "usage").mismatches > 300
    assert names(report, "usage") == ["staleness"]


def test_values_beyond_their_time_to_live_are_named(tmp_path):
    report = audited(tmp_path, lambda who, at: BUSINESS.values(who, at, expires=False))

    assert names(report, "balance") == ["time to live"]
    assert [f.feature for f in report.features if f.mismatches] == ["balance"]


def test_two_causes_of_one_feature_are_both_named(tmp_path):
    def mixed(who: str, at: datetime) -> dict[str, float | None]:
        values = BUSINESS.values(who, at)
        return values | {"visits": (values["visits"] or 0.0) * 60}

    assert sorted(names(audited(tmp_path, mixed), "visits")) == ["null to 0", "unit x 60"]


def test_what_no_pattern_explains_is_unknown_and_shown_by_example(tmp_path):
    report = audited(tmp_path, lambda who, at: BUSINESS.values(who, at) | {"usage": at.microsecond / 7})

    assert names(report, "usage") == ["unknown"]
    assert len(of(report, "usage").examples) == 3


def test_rows_that_cannot_be_compared_are_counted_by_reason(tmp_path):
    requests = asks(BUSINESS)[:5]
    requests += [Ask(None, day(9), requests[0].values), Ask("nobody", day(9), requests[0].values)]
    requests += [Ask("e1", day(90), requests[0].values)]
    write(tmp_path / "log", requests)

    report = audit(tmp_path, BUSINESS.project(tmp_path))

    assert (report.rows, report.compared) == (8, 5)
    assert (report.without_entity, report.unknown_entity, report.after_tables) == (1, 1, 1)
    assert report.tables_until == "2024-02-29T00:00:00+00:00"


def test_a_release_with_other_features_is_compared_in_those_that_it_logged(tmp_path):
    requests = asks(BUSINESS)
    write(tmp_path / "log", [ask for ask in requests if ask.at < day(20)], "1", ("usage", "amount"))
    newer = [Ask(ask.who, ask.at, ask.values | {"old": 1.0}) for ask in requests if ask.at >= day(20)]
    write(tmp_path / "log", newer, "2", ("usage", "amount", "visits", "old"))

    report = audit(tmp_path, BUSINESS.project(tmp_path))

    assert report.is_clean
    assert report.not_in_release == {"visits": ("1",)}
    assert report.not_logged == ("balance",)
    assert report.not_in_project == ("old",)
    assert of(report, "visits").rows == len(newer) < of(report, "usage").rows


def test_the_window_and_the_sample_are_what_was_asked_for(tmp_path):
    write(tmp_path / "log", requests := asks(BUSINESS))
    tiny = BUSINESS.project(tmp_path)

    window = audit(tmp_path, tiny, start="2024-01-10", end="2024-01-20")
    sample = audit(tmp_path, tiny, most_rows=100)

    assert window.compared == sum(day(10) < ask.at <= day(20) for ask in requests)
    assert 60 < sample.compared < 150
    assert sample.compared + sample.not_sampled == 600


@pytest.mark.parametrize(
    ("requests", "start", "sentence"),
    [
        ([], "", r"the log has no row of the model 'tiny' in the window \(it has none at all\); expected answered"),
        (asks(BUSINESS)[:3], "2025-01-01", r"no row .* in the window \(its event times are from 2024-.*\)"),
        ([Ask(None, day(9), asks(BUSINESS)[0].values)], "", "none of the 1 logged rows of the window has an entity"),
        ([Ask("who?", day(9), asks(BUSINESS)[0].values)], "", r"no feature view has any entity .* \(such as 'who\?'\)"),
        (
            [Ask("e1", day(90), asks(BUSINESS)[0].values)],
            "",
            "moments up to 2024-03-30 .* the tables end at 2024-02-29",
        ),
    ],
)
def test_a_window_without_a_comparable_row_is_refused_in_a_sentence(tmp_path, requests, start, sentence):
    write(tmp_path / "log", requests)

    with pytest.raises(InputError, match=sentence):
        audit(tmp_path, BUSINESS.project(tmp_path), start=start)


def test_a_log_without_any_feature_of_the_project_is_refused(tmp_path):
    write(tmp_path / "log", [Ask("e1", day(9), {"other": 1.0})], features=("other",))

    with pytest.raises(InputError, match=r"the log has the features \['other'\] and the project \['amount', 'balance'"):
        audit(tmp_path, BUSINESS.project(tmp_path))


def test_entities_that_are_numbers_in_the_tables_are_found_by_their_text(tmp_path):
    tables = {
        "examples": pa.table({"who": [7], "moment": [day(60)], "label": [0]}),
        "visits": pa.table({"who": [7, 7, 8], "moment": [day(1), day(9), day(1)], "visits": [3, 4, 5]}),
    }
    tiny = Tiny(tmp_path, tables, [View("visits", "SELECT * FROM visits", ["visits"])])
    requests = [
        Ask("7", day(5), {"visits": 3.0}),
        Ask("7", day(10), {"visits": 3.0}),
        Ask("x", day(5), {"visits": 1.0}),
    ]
    write(tmp_path / "log", requests, features=("visits",))

    report = audit(tmp_path, tiny)

    assert (report.compared, report.unknown_entity) == (2, 1)
    assert (of(report, "visits").stale, of(report, "visits").stale_longest_h) == (1, 24)
    assert report.is_clean


def test_an_offline_store_that_loses_rows_is_refused(tmp_path):
    tiny = BUSINESS.project(tmp_path)
    tiny.store = tiny.store.replace("duckdb", "file")
    write(tmp_path / "log", asks(BUSINESS)[:3])

    with pytest.raises(InputError, match="the offline store 'file', which silently drops rows"):
        audit(tmp_path, tiny)


def test_a_feature_of_another_type_than_declared_is_refused(tmp_path):
    tiny = BUSINESS.project(tmp_path)
    tiny.views[1] = View("visits", "SELECT who, moment, 'many' AS visits FROM visits", ["visits"])
    write(tmp_path / "log", asks(BUSINESS)[:3])

    with pytest.raises(
        InputError, match="the feature 'visits' of the feature service has the type string, and the proj"
    ):
        audit(tmp_path, tiny)


def test_event_times_more_than_a_day_after_their_request_are_counted_or_refused(tmp_path):
    ahead = [replace(ask, ahead=timedelta(days=3)) for ask in asks(BUSINESS)[:4]]
    write(tmp_path / "log", ahead)
    with pytest.raises(InputError, match="all 4 logged rows of the window have an event time more than a day after"):
        audit(tmp_path, BUSINESS.project(tmp_path))

    write(tmp_path / "log", asks(BUSINESS)[:6], "2")
    report = audit(tmp_path, BUSINESS.project(tmp_path))

    assert (report.rows, report.from_the_future) == (6, 4)
