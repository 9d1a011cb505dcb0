"""Decide whether a candidate may replace the champion, by the project's rules."""

import logging

from components.gate import rules
from components.shared.documents.evaluation import EvaluationReport
from components.shared.documents.verdict import Ruling, Verdict
from components.shared.project import Project

_log = logging.getLogger(__name__)


def judge(project: Project, evaluation: EvaluationReport) -> Verdict:
    """Judge a measured candidate by every rule of the project.

    Before the first release it must beat the rule of thumb and keep up with the plain model; later it must keep up with
    the champion, and not be proven worse than the plain model. A champion that cannot be compared any more (another
    task, other classes, features that are gone) is treated as if there were none, and a rule that passed says so.

    Args:
        project: Its ``gate`` section holds the rules; one set to null is off. A comparison whose margin is null
            is named as not judged.
        evaluation: What was measured.

    Returns:
        All rulings, not only the broken ones.

    Raises:
        InputError: If a floor or ceiling names a metric that was not measured, or a rule needs what was not declared.
    """
    rulings = [ruling for rule in rules.ALL for ruling in rule(project, evaluation)]
    first_release = evaluation.comparisons.champion is None
    if first_release and evaluation.champion.reason:
        reason = f"{evaluation.champion.reason}; judged as a first release"
        rulings.insert(0, Ruling(rule="champion", passed=True, reason=reason, phase="training"))
    promote = all(ruling.passed for ruling in rulings)
    verdict = Verdict(promote=promote, first_release=first_release, rules=tuple(rulings))
    broken = [ruling.rule for ruling in verdict.failed]
    _log.info("%s: %s", "promoted" if promote else "rejected", f"broken are {broken}" if broken else "all rules hold")
    return verdict
