"""Say in sentences what a skew audit found: how much differs, the likely causes, and what was not compared."""

from collections.abc import Iterator, Sequence

from components.shared.documents.skew import FeatureSkew, SkewCause, SkewReport
from components.shared.wording import quoted, significant

_MEANINGS = {
    "late row": (
        "the logged value became known offline only after the request, by the created timestamp of its view; the "
        "online path uses rows before the tables know them"
    ),
    "time to live": "the logged value is older than its view allows, and the online path ignores the time to live",
    "null to 0": "the log has 0 where the offline value is missing",
    "null to constant": "the log has this value where the offline one is missing",
    "unit": "the logged value is always this multiple of the offline one; compare the units",
}


def sentences(report: SkewReport) -> tuple[str, ...]:
    """Return the result, a sentence per likely cause, and one per kind of row or feature that was left out."""
    return (headline(report), *_causes(report), *_left_out(report))


def headline(report: SkewReport) -> str:
    """Say how many rows were compared, and how many values differ."""
    differing = [feature.feature for feature in report.features if feature.mismatches]
    mismatches = sum(feature.mismatches for feature in report.features)
    stale = sum(feature.stale for feature in report.features)
    where = f" in {quoted(differing)}" if differing else ""
    beside = f", and {_counted(stale, 'stale value')}" if stale else ""
    rows = f"{_counted(report.compared, 'row')} compared in {_counted(len(report.features), 'feature')}"
    return f"{rows}: {_counted(mismatches, 'mismatch', 'mismatches')}{where}{beside}"


def _counted(count: int, one: str, several: str | None = None) -> str:
    return f"{count:,} {one if count == 1 else several or f'{one}s'}"


def _causes(report: SkewReport) -> Iterator[str]:
    """Yield a sentence per cause, with the features that it explains, the most rows first."""
    affected: dict[tuple[str, str], list[tuple[FeatureSkew, SkewCause]]] = {}
    for feature in report.features:
        for cause in feature.causes:
            affected.setdefault((cause.name, cause.detail), []).append((feature, cause))
    for (name, detail), members in sorted(affected.items(), key=lambda item: -_rows(item[1])):
        members.sort(key=lambda member: -member[1].rows)
        listed = ", ".join(f"'{feature.feature}' ({_counted(cause.rows, 'row')})" for feature, cause in members)
        label = f"{name} ({detail})" if detail else name
        yield f"{label} in {listed}: {_meaning(name, detail, [feature for feature, _ in members])}."


def _rows(members: Sequence[tuple[FeatureSkew, SkewCause]]) -> int:
    return sum(cause.rows for _, cause in members)


def _meaning(name: str, detail: str, features: Sequence[FeatureSkew]) -> str:
    if name == "time zone":
        direction = "later" if detail.startswith("+") else "earlier"
        return f"the logged value is that of {detail.lstrip('+-')} {direction}; compare the time zones of both paths"
    if name == "staleness":
        longest = max((feature.stale_longest_h or 0 for feature in features), default=0)
        lag = f", which was at most {significant(longest)} h late" if longest else ""
        return f"the logged value is that of an earlier row of its view; the newest was not materialized yet{lag}"
    if name == "unknown":
        example = next((feature.examples[0].request_id for feature in features if feature.examples), None)
        return "no pattern explains the difference" + (f"; see 'perennial explain {example}'" if example else "")
    return _MEANINGS[name]


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
        yield f"rows that were not compared: {listed}."
    if report.not_logged:
        yield f"not compared: {quoted(report.not_logged)}, which the log does not have (newer than it, or redacted)."
    if report.not_in_project:
        yield f"not compared: {quoted(report.not_in_project)}, which the project no longer has."
    for feature, releases in report.not_in_release.items():
        yield f"'{feature}' is compared without the rows of release {', '.join(releases)}, which never logged a value."
    yield from report.damaged
