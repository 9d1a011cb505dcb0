"""Say in sentences what a skew audit found: how much differs, the likely causes, and what was not compared."""

from collections.abc import Iterator

from components.shared.documents.skew import FeatureSkew, SkewCause, SkewReport
from components.shared.wording import number, quoted


def sentences(report: SkewReport) -> tuple[str, ...]:
    """Return the result, one sentence per likely cause of a feature, and one per kind of row that was left out."""
    causes = (_cause(feature, cause) for feature in report.features for cause in feature.causes)
    return (headline(report), *causes, *_left_out(report))


def headline(report: SkewReport) -> str:
    """Say how many values were compared, and how many differ."""
    differing = [feature.feature for feature in report.features if feature.mismatches]
    mismatches = sum(feature.mismatches for feature in report.features)
    stale = sum(feature.stale for feature in report.features)
    where = f" in {quoted(differing)}" if differing else ""
    late = f", and {stale:,} stale values" if stale else ""
    return (
        f"{report.compared:,} rows compared in {len(report.features)} features: {mismatches:,} mismatches{where}{late}"
    )


def _cause(feature: FeatureSkew, cause: SkewCause) -> str:
    rows = "1 row" if cause.rows == 1 else f"{cause.rows:,} rows"
    return f"'{feature.feature}', {rows}, {_label(cause)}: {_meaning(feature, cause)}."


def _label(cause: SkewCause) -> str:
    return f"{cause.name} ({cause.detail})" if cause.detail else cause.name


def _meaning(feature: FeatureSkew, cause: SkewCause) -> str:
    match cause.name:
        case "time zone":
            direction = "later" if cause.detail.startswith("+") else "earlier"
            hours = cause.detail.lstrip("+-")
            return f"the logged value is that of {hours} {direction}; compare the time zones of both paths"
        case "late row":
            return (
                "the logged value became known only after the request, by the created timestamp of the view "
                f"'{feature.view}'; the online path uses rows before the tables know them"
            )
        case "time to live":
            return (
                f"the logged value is older than the time to live of the view '{feature.view}', which online is ignored"
            )
        case "null to 0":
            return "the log has 0 where the offline value is missing"
        case "null to constant":
            return f"the log has {cause.detail} where the offline value is missing"
        case "unit":
            return f"the logged value is the offline one {cause.detail}; compare the units"
        case "staleness":
            lag = "" if feature.stale_longest_h is None else f", at most {number(feature.stale_longest_h)} h late"
            return f"the logged value is that of an earlier row of the view '{feature.view}', not materialized yet{lag}"
        case "unknown":
            example = f"; see 'perennial explain {feature.examples[0].request_id}'" if feature.examples else ""
            return f"no pattern explains the difference{example}"


def _left_out(report: SkewReport) -> Iterator[str]:
    reasons = {
        "without an entity": report.without_entity,
        "of an entity that no feature view has": report.unknown_entity,
        f"about a moment after the newest time of the tables ({report.tables_until})": report.after_tables,
        "with an event time more than a day after the request": report.from_the_future,
        "beyond the number that was asked for": report.not_sampled,
    }
    if any(reasons.values()):
        listed = ", ".join(f"{rows:,} {reason}" for reason, rows in reasons.items() if rows)
        yield f"Rows that were not compared: {listed}."
    if report.not_logged:
        yield f"Not compared: {quoted(report.not_logged)}, which the log does not have (newer than it, or redacted)."
    if report.not_in_project:
        yield f"Not compared: {quoted(report.not_in_project)}, which the project no longer has."
    for feature, releases in report.not_in_release.items():
        yield f"'{feature}' is compared without the rows of release {', '.join(releases)}, which never logged a value."
    yield from report.damaged
