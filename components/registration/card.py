"""The model card: what is known about a version, generated from what was measured and from nothing else."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markdown_it import MarkdownIt

from components.shared import wording
from components.shared.evidence import Candidate
from components.shared.wording import number, where

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

_FOLDER = Path(__file__).parent
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|#&~!])")
_CATEGORIES = 8


class _Markdown(str):
    """Text that is Markdown already."""


class FeatureRow(NamedTuple):
    """One input of the model as the card lists it."""

    name: str
    type: str
    missing: bool
    seen: str
    """What it held in training."""


def markdown(candidate: Candidate, version: "ModelVersion", former: str | None) -> str:
    """Write the card as Markdown; every text that comes from data or from the project file is escaped.

    Args:
        candidate: What was measured.
        version: The version that the card describes, as the registry holds it.
        former: The champion that answered when the version was made, or None.
    """
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=escape,
        autoescape=False,
    )
    named = (
        wording.number,
        wording.money,
        wording.worth,
        wording.interval,
        wording.coverage,
        wording.where,
        wording.share,
        wording.signed,
        wording.split,
        short,
    )
    environment.filters.update({function.__name__: function for function in named})
    template = environment.get_template("card.md.j2")
    rendered = template.render(
        c=candidate,
        version=str(version.version),
        run_id=version.run_id,
        former=former,
        features=features(candidate),
        risks=risks(candidate),
    )
    return re.sub(r"\n{3,}", "\n\n", rendered).strip() + "\n"


def html(text: str, title: str) -> str:
    """Render the card as one HTML page that needs nothing from the network."""
    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(text)
    body = body.replace("<table>", '<div class="scroll"><table>').replace("</table>", "</table></div>")
    environment = Environment(loader=FileSystemLoader(_FOLDER), undefined=StrictUndefined, autoescape=True)
    return environment.get_template("card.html.j2").render(title=f"Model card: {title}", body=body)


def features(candidate: Candidate) -> list[FeatureRow]:
    """Describe each input of the model by what it held in training."""
    model = candidate.model
    rows = []
    for feature in model.features:
        seen = ""
        if feature.name in model.vocabulary:
            words = model.vocabulary[feature.name]
            more = f" and {len(words) - _CATEGORIES} more" if len(words) > _CATEGORIES else ""
            seen = ", ".join(words[:_CATEGORIES]) + more
        elif feature.type == "boolean":
            seen = "false, true"
        elif feature.name in model.ranges:
            low, high = model.ranges[feature.name]
            seen = f"{number(low)} to {number(high)}"
        rows.append(FeatureRow(feature.name, feature.type, feature.missing, seen))
    return rows


def risks(candidate: Candidate) -> list[str]:
    """Name what should worry a reader, each with its number."""
    evaluation = candidate.evaluation
    primary = evaluation.primary_metric
    width = None if primary.high is None or primary.low is None else primary.high - primary.low
    sentences = [
        f"The test holds {evaluation.rows.test} rows; the interval of {evaluation.primary} is {number(width)} wide."
    ]
    if worst := evaluation.worst:
        sentences.append(
            f"The worst slice found is {where(worst.where)}: {evaluation.primary} {number(worst.metric)} on "
            f"{worst.rows} rows. {worst.remark}"
        )
    if evaluation.calibration:
        error = number(evaluation.calibration.ece)
        sentences.append(f"A score differs from the share of positives by {error} on average.")
    for fair in evaluation.fairness:
        sentences.append(
            f"Groups of {fair.column} differ by {number(fair.demographic_parity_difference)} in how often they "
            f"are acted on, and by {number(fair.equalized_odds_difference)} in their true or false positive rates."
        )
    old = evaluation.old_rows
    if old and not old.chosen_because:
        sentences.append(
            f"On {old.rows} old rows, {old.metric} is {number(old.loss)}; it was {number(old.first_loss)} in the "
            "release for which they were chosen."
        )
    drops = [(test.drop, test) for test in evaluation.robustness if test.drop is not None]
    if drops:
        drop, harm = max(drops, key=lambda pair: pair[0])
        sentences.append(
            f"What costs most of all perturbations tried is {harm.perturbation} ({harm.level}): "
            f"{number(drop)} of {evaluation.primary}."
        )
    if warnings := candidate.validation.findings:
        sentences.append(f"The data had {len(warnings)} findings that did not stop the run: {warnings[0].sentence}")
    if candidate.code.get("dirty", "false").lower() in ("true", "1", "yes"):
        sentences.append("The code had changes that were not committed, so the commit below does not reproduce it.")
    return sentences


def escape(value: Any) -> Any:
    """Make a value harmless inside Markdown: one line, nothing that starts markup."""
    if isinstance(value, _Markdown) or not isinstance(value, str):
        return value
    return _SPECIAL.sub(r"\\\1", " ".join(value.split()))


def short(digest: str) -> str:
    """Cut a digest to what tells it apart."""
    return digest[:16]
