"""The page: documents in, one HTML file out; everything that comes from data is escaped."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import ChainableUndefined, Environment, FileSystemLoader
from markdown_it import MarkdownIt
from markupsafe import Markup

from components.shared import files, wording
from pipelines.runs import skew
from pipelines.runs.report import (
    cadence_charts,
    charts,
    documents,
    kept_pictures,
    monitoring_charts,
    shape_charts,
    timeline,
    tuning_charts,
)
from pipelines.runs.report.documents import Documents

_FOLDER = Path(__file__).parent
_NAME = "report.html"
_TONES = {"finished": "good", "rejected": "fair", "interrupted": "fair"}
_ACTION_TONES = {"nothing": "good", "watch": "fair", "retrain": "bad", "roll back": "bad"}
_TONES |= dict.fromkeys(("data blocked", "bad input", "failed", "bug"), "bad")


def render(run: Mapping[str, Any], folder: Path, sections: Sequence[str] | None = None) -> Path:
    """Write the report of one run, with what there is.

    Args:
        run: ``id``, ``project``, ``state``, ``exit_code``, ``started`` (ISO, UTC), ``steps`` (each with ``name``,
            ``state``, ``seconds``, ``cached``, ``log``, ``error``), ``artifacts`` ("step.output" to its path), and
            ``reason`` and ``repeats`` (the id of a run beside this one, whose results it has), if there is one. Any
            artifact may be absent or half written.
        folder: Where ``report.html`` goes; a reader sees the old one or the new one, never half.
        sections: Those that the run's pipeline can have; None is all.

    Returns:
        The file.
    """
    written = documents.read(run.get("artifacts") or {})
    looks = timeline.looks(folder, run.get("artifacts") or {}) if written.decision else ()
    original = folder.parent / run["repeats"] if run.get("repeats") else None
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=ChainableUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    named = (wording.number, wording.signed, wording.interval, wording.money, wording.worth, wording.share,
             wording.where, wording.duration, wording.split, skew.sentences, moment,
             markdown)  # fmt: skip
    environment.filters.update({function.__name__: function for function in named})
    page = environment.get_template("page.html.j2").render(
        run=run,
        d=written,
        e=written.evaluation,
        style=Markup((_FOLDER / "style.css").read_text(encoding="utf-8")),
        tone=_tone(run.get("state", ""), written),
        headline=headline(run, written),
        seconds=sum(step.get("seconds") or 0 for step in run.get("steps") or ()),
        picture=kept_pictures.pictures(folder, original, lambda: pictures(written, looks)),
        looks=looks,
        sections=sections,
    )
    files.write_text(folder / _NAME, page)
    return folder / _NAME


def _tone(state: str, written: Documents) -> str:
    """Return the color of the headline: how the run ended, or what monitoring says if nothing came of it yet."""
    if state == "finished" and written.decision and not written.release:
        return _ACTION_TONES[written.decision.action]
    return _TONES.get(state, "plain")


def headline(run: Mapping[str, Any], written: Documents) -> str:
    """Say in one sentence how the run ended."""
    state, reason = run.get("state"), run.get("reason") or ""
    if state == "finished" and written.release:
        version = written.release.version
        if run.get("repeats"):
            return (
                f"Nothing to do: version {version} was made from the same data, project and code by run "
                f"{run['repeats']}, and the endpoint serves it."
            )
        if written.release.unchanged:
            return f"Nothing to do: version {version} was made from the same data and code, and it answers already."
        because = f"Monitoring says: {written.decision.action}. " if written.decision else ""
        return f"{because}Version {version} was released."
    if state == "finished" and written.cadence:
        chosen = written.cadence.chosen
        return "Retraining would not have paid." if chosen.kind == "never" else f"Retrain {chosen.name}."
    if state == "finished" and written.decision:
        return f"Monitoring says: {written.decision.action}. {'; '.join(written.decision.reasons)}."
    if state == "rejected":
        broken = [ruling.reason for ruling in written.verdict.failed] if written.verdict else []
        return "The candidate was not released: " + ("; ".join(broken) or reason or "the gate refused it") + "."
    if state == "data blocked":
        return reason or "The data has anomalies that the project file says must stop a run."
    failed = next((step for step in run.get("steps") or () if step.get("state") == "failed"), None)
    if failed:
        return f"Step {failed['name']} failed: {failed.get('error') or reason or 'see its log'}"
    return reason or f"The run is {state}."


def pictures(written: Documents, looks: Sequence[timeline.Look] = ()) -> dict[str, Markup]:
    """Draw whatever the documents allow; a picture that is absent is empty in the page.

    Args:
        written: What the run's steps wrote.
        looks: The windows of this and earlier monitoring runs.
    """
    drawn: dict[str, Markup] = {}
    if evaluation := written.evaluation:
        drawn |= {
            "comparisons": charts.comparisons(evaluation),
            "metrics": charts.metrics(evaluation),
            "roc": charts.roc(evaluation),
            "calibration": charts.calibration(evaluation),
            "precision_recall": shape_charts.precision_recall(evaluation),
            "lift": shape_charts.lift(evaluation),
            "scores": shape_charts.scores(evaluation),
            "fit": shape_charts.predicted_and_actual(evaluation),
            "residuals": shape_charts.residuals(evaluation),
            "distributions": shape_charts.distributions(evaluation),
            "slices": charts.slices(evaluation),
            "shuffled": charts.shuffled_columns(evaluation),
            "perturbed": charts.disturbances(evaluation),
            "value": charts.value(evaluation),
        }
    if written.performance:
        drawn["loss_by_day"] = monitoring_charts.loss_by_day(written.performance)
    if looks:
        drawn["drift_over_time"] = monitoring_charts.drift_over_time(looks)
        drawn["loss_over_time"] = monitoring_charts.loss_over_time(looks)
    if written.drift:
        drawn["window_distributions"] = monitoring_charts.distributions(written.drift)
    if written.cadence:
        drawn |= {"savings": cadence_charts.savings(written.cadence), "aging": cadence_charts.aging(written.cadence)}
    if written.trials and written.study:
        drawn["trials"] = tuning_charts.trials(written.trials, written.study)
    if written.trials:
        drawn["intermediate"] = tuning_charts.intermediate(written.trials)
    if written.training:
        drawn["history"] = tuning_charts.history(written.training)
    return drawn


def moment(text: Any) -> str:
    """Write an ISO time as a person reads it.

    >>> moment("2025-05-14T08:00:00+00:00")
    '2025-05-14 08:00 UTC'
    """
    try:
        return datetime.fromisoformat(str(text)).strftime("%Y-%m-%d %H:%M UTC")
    except ValueError:
        return str(text or wording.ABSENT)


def markdown(text: str) -> Markup:
    """Render Markdown that a step wrote; HTML inside it stays text, and its headings go below the page's own."""
    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(text)
    for level in (4, 3, 2, 1):
        body = body.replace(f"<h{level}>", f"<h{level + 2}>").replace(f"</h{level}>", f"</h{level + 2}>")
    return Markup(body.replace("<table>", '<div class="scroll"><table>').replace("</table>", "</table></div>"))
