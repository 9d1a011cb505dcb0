"""What a skew audit found is said in one sentence per cause, and nothing that was left out is kept quiet."""

from components.shared.documents.skew import FeatureSkew, SkewCause
from pipelines.runs import skew
from pipelines.runs.report import render
from tests import documents


def feature(
    name: str, *causes: SkewCause, different: int = 0, stale: int = 0, longest: float | None = None
) -> FeatureSkew:
    row = documents.skew_report().features[0].model_dump()
    changes = {"feature": name, "causes": causes, "different": different, "extra": 0, "stale": stale}
    return FeatureSkew(**(row | changes | {"stale_longest_h": longest}))


def test_a_clean_audit_is_one_sentence():
    report = documents.skew_report(
        features=(feature("usage"),), without_entity=0, unknown_entity=0, after_tables=0, not_logged=()
    )

    assert skew.sentences(report) == ("90 rows compared in 1 feature: 0 mismatches",)
    assert report.is_clean


def test_features_with_the_same_cause_share_a_sentence_and_the_cause_of_most_rows_is_first():
    offset = {"name": "time zone", "detail": "-2 h"}
    features = (
        feature("plan", SkewCause(name="unit", detail="x 60", rows=2), different=2),
        feature("usage", SkewCause(rows=3, **offset), different=3),
        feature("fee", SkewCause(rows=1, **offset), SkewCause(name="unknown", rows=1), different=2),
    )

    first, second, third, fourth, *_ = skew.sentences(documents.skew_report(features=features))

    assert first == "90 rows compared in 3 features: 7 mismatches in 'plan', 'usage' and 'fee'"
    assert second == (
        "time zone (-2 h) in 'usage' (3 rows), 'fee' (1 row): the logged value is that of 2 h earlier; compare the "
        "time zones of both paths."
    )
    assert third.startswith("unit (x 60) in 'plan' (2 rows): the logged value is always this multiple")
    assert fourth == "unknown in 'fee' (1 row): no pattern explains the difference; see 'perennial explain a'."


def test_staleness_says_the_longest_lag_and_is_no_mismatch():
    cause = SkewCause(name="staleness", rows=4)
    report = documents.skew_report(features=(feature("usage", cause, stale=4, longest=23.5),))

    result, sentence, *_ = skew.sentences(report)

    assert result == "90 rows compared in 1 feature: 0 mismatches, and 4 stale values"
    assert sentence.endswith("the newest was not materialized yet, which was at most 23.5 h late.")
    assert report.is_clean


def test_every_kind_of_row_and_feature_that_was_left_out_is_said():
    report = documents.skew_report(
        features=(feature("usage"),),
        from_the_future=4,
        not_sampled=1200,
        not_in_project=("old",),
        not_in_release={"usage": ("1", "2")},
        damaged=("a segment is damaged.",),
    )

    assert skew.sentences(report)[1:] == (
        "rows that were not compared: 7 without an entity, 2 of an entity that no feature view has, 1 about a moment "
        "after the newest time of the tables (2026-06-01T00:00:00+00:00), 4 with an event time more than a day after "
        "the request, 1,200 beyond the number that was asked for.",
        "not compared: 'plan', which the log does not have (newer than it, or redacted).",
        "not compared: 'old', which the project no longer has.",
        "'usage' is compared without the rows of release 1, 2, which never logged a value.",
        "a segment is damaged.",
    )


def test_the_report_of_a_run_shows_the_sentences_and_every_feature(tmp_path):
    documents.skew_report(features=(feature("a<b", different=3),)).write(tmp_path / "report")
    artifacts = {"skew_audit.report": str(tmp_path / "report")}
    run = {"id": "1", "project": "made", "state": "finished", "steps": [], "artifacts": artifacts}

    page = render(run, tmp_path, ("steps", "skew")).read_text(encoding="utf-8")

    assert 'id="skew"' in page
    assert "90 rows compared in 1 feature: 3 mismatches in &#39;a&lt;b&#39;" in page
    assert '<td class="name">a&lt;b</td><td class="right">90</td><td class="right">3</td>' in page
