"""``perennial audit skew``: replay logged requests through the offline path, and say which features differ."""

from datetime import datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from components.shared.documents.skew import FeatureSkew, SkewReport
from components.shared.errors import ExitCode
from components.shared.wording import significant
from pipelines import runs
from pipelines.command import terminal
from pipelines.command.options import TargetOptions
from pipelines.command.verbs import summary
from pipelines.command.view import View
from pipelines.runs import skew
from pipelines.targets.protocol import RunRequest

DIFFERS = ExitCode.REJECTED
"""The exit code if any value is a mismatch."""
_REPORT = "skew_audit.report"


def audit(options: TargetOptions, start: datetime | None, end: datetime | None, most_rows: int | None) -> int:
    """Run the pipeline ``skew-audit`` on this machine, and print a table of its features and a sentence per cause.

    Args:
        options: The project and its target.
        start: Event times after this moment (UTC); None is no limit.
        end: Event times up to this moment; None is no limit.
        most_rows: About so many rows are compared; None is all.

    Returns:
        0 without a mismatch, 3 with one, otherwise the exit code of the run.
    """
    console, backend = terminal.console(), options.open()
    backend.check_machine()
    request = RunRequest("skew-audit", start=start, end=end, most_rows=most_rows or 0)
    with backend.start(request, View(console)) as started:
        page = started.follow()
        record = started.record
    assert record.exit_code is not None
    if record.exit_code != runs.OK:
        summary.show(record, page, backend.state.root, console)
        return record.exit_code
    report = SkewReport.read(record.artifacts[_REPORT])
    _show(report, console)
    root = backend.state.root
    for label, path in (("values", Path(record.artifacts[_REPORT])), ("report", page)):
        shown = path.relative_to(root) if path.is_relative_to(root) else path
        console.print(f"{label:<8}{shown}", highlight=False, markup=False, soft_wrap=True)
    return ExitCode.OK if report.is_clean else DIFFERS


def _show(report: SkewReport, console: Console) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("feature", no_wrap=True)
    for heading in ("rows", "different", "missing", "extra", "stale", "SMAPE", "difference: 5 %", "median", "95 %"):
        table.add_column(heading, justify="right", no_wrap=True)
    for feature in sorted(report.features, key=lambda feature: -feature.mismatches):
        table.add_row(feature.feature, *_cells(feature), style="bold" if feature.mismatches else "")
    console.print(table)
    result, *others = skew.sentences(report)
    style = "bold green" if report.is_clean else "bold red"
    console.print(result, style=style, highlight=False, markup=False, soft_wrap=True)
    for sentence in others:
        console.print(f"- {sentence}", highlight=False, markup=False, soft_wrap=True)


def _cells(feature: FeatureSkew) -> list[str]:
    counts = (feature.rows, feature.different, feature.missing, feature.extra, feature.stale)
    spread = feature.difference
    quantiles = (spread.q05, spread.median, spread.q95) if spread else (None, None, None)
    return [*(f"{count:,}" for count in counts), significant(feature.smape), *map(significant, quantiles)]
