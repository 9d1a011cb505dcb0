"""Decide whether a candidate may replace the champion, by the project's rules."""

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from components.gate import rules
from components.gate.rules import Ruling
from components.shared.project import Project

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Verdict:
    """The decision, and every rule with its own; promoted only if all of them passed."""

    promote: bool
    first_release: bool
    rules: tuple[Ruling, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return what the verdict file holds."""
        return asdict(self) | {"rules": [asdict(ruling) for ruling in self.rules]}


def judge(project: Project, evaluation: Mapping[str, Any]) -> Verdict:
    """Judge a measured candidate by every rule of the project.

    Before the first release it must beat the rule of thumb and keep up with the plain model; later it must keep up with
    the champion. A champion that cannot be compared any more (another task, other classes, features that are gone) is
    treated as if there were none, and a rule that passed says so.

    Args:
        project: Its ``gate`` section holds the rules; one set to null is off.
        evaluation: The content of ``evaluation.json``.

    Returns:
        All rulings, not only the broken ones.

    Raises:
        InputError: If a floor or ceiling names a metric that was not measured, or a rule needs what was not declared.
    """
    rulings = [ruling for rule in rules.ALL for ruling in rule(project.gate, evaluation)]
    first = evaluation["comparisons"]["champion"] is None
    reason = (evaluation.get("champion") or {}).get("reason")
    if first and reason:
        rulings.insert(0, Ruling("champion", True, f"{reason}; judged as a first release", "training"))
    verdict = Verdict(all(ruling.passed for ruling in rulings), first, tuple(rulings))
    broken = [ruling.rule for ruling in rulings if not ruling.passed]
    _log.info(
        "%s: %s", "promoted" if verdict.promote else "rejected", f"broken are {broken}" if broken else "all rules hold"
    )
    return verdict
