"""The model card: what is known about a version, generated from what was measured and from nothing else."""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markdown_it import MarkdownIt

from components.shared.evidence import Candidate

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

_FOLDER = Path(__file__).parent
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|#&~!])")
_CATEGORIES = 8


class _Markdown(str):
    """Text that is Markdown already."""


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
    )
    environment.filters.update(number=number, money=money, metric=metric, where=where, short=short, share=share)
    template = environment.get_template("card.md.j2")
    known = {"c": candidate, "version": str(version.version), "run_id": version.run_id, "former": former}
    rendered = template.render(**known, features=features(candidate), risks=risks(candidate))
    return re.sub(r"\n{3,}", "\n\n", rendered).strip() + "\n"


def html(text: str, title: str) -> str:
    """Render the card as one HTML page that needs nothing from the network."""
    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(text)
    body = body.replace("<table>", '<div class="scroll"><table>').replace("</table>", "</table></div>")
    environment = Environment(loader=FileSystemLoader(_FOLDER), undefined=StrictUndefined, autoescape=True)
    return environment.get_template("card.html.j2").render(title=f"Model card: {title}", body=body)


def features(candidate: Candidate) -> list[dict[str, Any]]:
    """Describe each input of the model by what it held in training."""
    model = candidate.model
    rows = []
    for feature in model["features"]:
        name = feature["name"]
        seen = ""
        if name in model["vocabulary"]:
            words = model["vocabulary"][name]
            more = f" and {len(words) - _CATEGORIES} more" if len(words) > _CATEGORIES else ""
            seen = ", ".join(str(word) for word in words[:_CATEGORIES]) + more
        elif feature["type"] == "boolean":
            seen = "false, true"
        elif name in model["ranges"]:
            low, high = model["ranges"][name]
            seen = f"{number(low)} to {number(high)}"
        rows.append({**feature, "seen": seen})
    return rows


def risks(candidate: Candidate) -> list[str]:
    """Name what should worry a reader, each with its number."""
    evaluation, found = candidate.evaluation, []
    metrics = evaluation["metrics"]
    primary = metrics[evaluation["primary"]]
    found.append(
        f"The test holds {evaluation['rows']['test']} rows; the interval of {evaluation['primary']} is "
        f"{number(primary['high'] - primary['low'])} wide."
    )
    worst = evaluation.get("worst")
    if worst:
        found.append(
            f"The worst slice found is {where(worst['where'])}: {evaluation['primary']} {number(worst['metric'])} on "
            f"{worst['rows']} rows. It was searched for, so it looks worse than it is."
        )
    calibration = evaluation.get("calibration")
    if calibration:
        found.append(f"A score differs from the share of positives by {number(calibration['ece'])} on average.")
    for fair in evaluation.get("fairness") or ():
        found.append(
            f"Groups of {fair['column']} differ by {number(fair['demographic_parity_difference'])} in how "
            f"often they are acted on, and by {number(fair['equalized_odds_difference'])} in how often rightly or wrongly."
        )
    harm = max(evaluation.get("robustness") or (), key=lambda test: test["drop"], default=None)
    if harm:
        found.append(
            f"{harm['perturbation'].capitalize()} at level {harm['level']} costs {number(harm['drop'])} of "
            f"{evaluation['primary']}, the most of all perturbations tried."
        )
    warnings = candidate.statistics["findings"]
    if warnings:
        found.append(f"The data had {len(warnings)} findings that did not stop the run: {warnings[0]['sentence']}")
    if candidate.code.get("dirty", "false").lower() in ("true", "1", "yes"):
        found.append("The code had changes that were not committed, so the commit below does not reproduce it.")
    return found


def escape(value: Any) -> Any:
    """Make a value harmless inside Markdown: one line, nothing that starts markup."""
    if isinstance(value, _Markdown) or not isinstance(value, str):
        return value
    return _SPECIAL.sub(r"\\\1", " ".join(value.split()))


def number(value: float | None) -> str:
    """Write a number with as many digits as a reader needs.

    >>> number(0.853412), number(36400), number(None), number(1.2e-07)
    ('0.853', '36,400', 'not measured', '1.2e-07')
    """
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "not measured"
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{value:,.0f}"
    if abs(value) >= 100:
        return f"{value:,.1f}"
    return f"{value:.3f}" if abs(value) >= 0.0005 else f"{value:.1e}"


def money(value: float | None, currency: str) -> str:
    """Write an amount."""
    return "not measured" if value is None else f"{value:,.2f} {currency}"


def metric(value: Mapping[str, float]) -> str:
    """Write a metric with its interval.

    >>> metric({"value": 0.85, "low": 0.83, "high": 0.87})
    '0.850 (0.830 to 0.870)'
    """
    return f"{number(value['value'])} ({number(value['low'])} to {number(value['high'])})"


def where(conditions: Mapping[str, Any]) -> str:
    """Write the conditions of a slice."""
    return " and ".join(f"{column} = {value}" for column, value in conditions.items()) or "all rows"


def share(value: float | None) -> str:
    """Write a share in per cent."""
    return "not measured" if value is None else f"{value * 100:.1f} %"


def short(digest: str) -> str:
    """Cut a digest to what tells it apart."""
    return digest[:16]
