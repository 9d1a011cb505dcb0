"""The gate's rules about other models: ranking or error, probabilities, and decisions at the served threshold.

A rank metric says nothing about probabilities or decisions, so that each is judged by its own paired interval and
margin: against the plain model before the first release, against the champion after it.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime

from components.gate.contest import Contest
from components.shared.documents.evaluation import Comparisons, EvaluationReport
from components.shared.documents.verdict import Phase, Ruling
from components.shared.project import Project

_FEWEST_OTHERS = 2
"""Judged aspects besides an undecided one, without which it blocks."""


def rulings(project: Project, evaluation: EvaluationReport) -> Iterator[Ruling]:
    """Compare with the rule of thumb and the plain model first, later with the champion and the plain model."""
    if evaluation.comparisons.champion is None:
        if project.gate.beat_rule:
            yield _better_than_rule(evaluation)
        if evaluation.family == "plain":
            yield _is_the_plain_model()
            return
        for contest in _contests(project, evaluation, "plain"):
            yield _keeps_up_with_plain(contest, project)
        return
    against_champion = _contests(project, evaluation, "champion")
    for contest in against_champion:
        others = [other for other in against_champion if other is not contest]
        is_trained_since_change = _is_trained_since_a_change(project, evaluation)
        yield _keeps_up_with_champion(contest, others, is_trained_since_change=is_trained_since_change)
    if project.gate.champion_margin is not None:
        yield _not_worse_in_all(against_champion)
    for contest in _contests(project, evaluation, "plain"):
        if evaluation.family != "plain" and contest.margin is not None and contest.is_proven_worse:
            yield _worse_than_plain(contest, project)


def _is_trained_since_a_change(project: Project, evaluation: EvaluationReport) -> bool:
    """Return whether the project dates a change, and the candidate knows only the time after it, the champion more."""
    since, rows = project.split.since, evaluation.rows
    if since is None or rows.oldest_trained is None or rows.champion_oldest_trained is None:
        return False
    candidate, champion = map(datetime.fromisoformat, (rows.oldest_trained, rows.champion_oldest_trained))
    return champion < since <= candidate


def _contests(project: Project, evaluation: EvaluationReport, other: str) -> list[Contest]:
    main_margin = "champion_margin" if other == "champion" else "plain_margin"
    aspects: list[tuple[str, Comparisons | None, str]] = [
        ("", evaluation.comparisons, main_margin),
        ("probabilities", evaluation.probabilities, "probability_margin"),
        ("decisions", evaluation.decisions, "decision_margin"),
    ]
    return [
        Contest(
            aspect=aspect,
            comparison=compared.present[other],
            higher_is_better=_direction(compared.present[other].metric, evaluation),
            confidence=evaluation.confidence,
            margin=getattr(project.gate, setting),
            setting=setting,
        )
        for aspect, compared, setting in aspects
        if compared is not None and other in compared.present
    ]


def _direction(metric: str, evaluation: EvaluationReport) -> bool:
    return evaluation.higher_is_better if metric == evaluation.primary else evaluation.directions[metric] is True


def _better_than_rule(evaluation: EvaluationReport) -> Ruling:
    contest = Contest("", evaluation.comparisons.rule, evaluation.higher_is_better, evaluation.confidence, None, "")
    side = "above" if contest.higher_is_better else "below"
    reason = f"{contest.against('the rule of thumb')}; the {contest.bound_name} confidence bound must be {side} 0"
    passed = contest.is_proven_better
    column = evaluation.single_column
    if not passed and column is not None and column.remark is not None:
        # No model can beat a rule that knows the answer; more features would not help.
        return Ruling(rule="rule", passed=False, reason=f"{reason}; {column.remark}", phase="data")
    return Ruling(rule="rule", passed=passed, reason=reason, phase="features")


def _non_inferior(rule: str, other: str, contest: Contest, phase: Phase) -> Ruling:
    """Hold the pessimistic bound to the margin; a margin of null judges nothing, and says so."""
    name = f"{rule} {contest.aspect}".strip()
    if contest.margin is None:
        reason = f"{contest.against(other)}; not judged, because 'gate: {contest.setting}' is null"
        return Ruling(rule=name, passed=True, reason=reason, phase=phase, remark="not judged")
    reason = (
        f"{contest.against(other)}; the {contest.bound_name} confidence bound may be at most {contest.margin:.4g} worse"
    )
    return Ruling(rule=name, passed=contest.is_non_inferior, reason=reason, phase=phase)


def _keeps_up_with_champion(contest: Contest, others: Sequence[Contest], *, is_trained_since_change: bool) -> Ruling:
    """Hold to the margin, or let the other aspects outweigh what too few rows leave undecided.

    Where the champion has become useless, the interval of a rank metric on the few rows since is wider than any margin,
    and an undecided difference would keep the worst model for ever.
    """
    judged = _non_inferior("champion", "the champion", contest, "training")
    outweighing = _outweighing([other for other in others if other.margin is not None], is_trained_since_change)
    if not (contest.is_undecided and outweighing):
        return judged
    metrics = " and ".join(other.comparison.metric for other in outweighing)
    verb = "is" if len(outweighing) == 1 else "are"
    reason = f"{judged.reason}; it is worse than that, but no loss is proven, and {metrics} {verb} proven better"
    return judged.model_copy(update={"passed": True, "reason": reason, "remark": "undecided"})


def _outweighing(judged: Sequence[Contest], is_trained_since_change: bool) -> list[Contest]:
    """Return the aspects that outweigh an undecided one: at least two, and all proven better.

    Among rows from after a change, the champion is no longer what the gate once let pass. Then one that is proven
    better is enough, if the others are within their margins.
    """
    better = [contest for contest in judged if contest.is_proven_better]
    if len(judged) < _FEWEST_OTHERS:
        return []
    if is_trained_since_change:
        return better if all(contest.is_non_inferior for contest in judged) else []
    return better if better == judged else []


def _is_the_plain_model() -> Ruling:
    reason = "the candidate is the plain model itself: no other family predicted the validation rows clearly better"
    return Ruling(rule="plain model", passed=True, reason=reason, phase="tuning")


def _keeps_up_with_plain(contest: Contest, project: Project) -> Ruling:
    """A margin allows for what is inconclusive, never for what is proven."""
    judged = _non_inferior("plain model", "the plain model", contest, "tuning")
    proven = judged.passed and judged.remark is None and contest.is_proven_worse
    return _worse_than_plain(contest, project) if proven else judged


def _worse_than_plain(contest: Contest, project: Project) -> Ruling:
    warns = project.gate.worse_than_plain == "warn"
    advice = "" if warns else " ('training: families: [plain]' makes the plain model the candidate)"
    return Ruling(
        rule=f"plain model {contest.aspect}".strip(),
        passed=warns,
        reason=f"{contest.against('the plain model')}; the whole interval is worse{advice}",
        phase="tuning",
        remark="warning" if warns else None,
    )


def _not_worse_in_all(contests: Sequence[Contest]) -> Ruling:
    """Margins do not add up: a candidate that is worse in everything replaces nobody."""
    metrics = ", ".join(contest.comparison.metric for contest in contests)
    worse = all(contest.advantage is not None and contest.advantage < 0 for contest in contests)
    compared = "is worse than" if worse else "is not worse than"
    reason = f"the candidate {compared} the champion in all of {metrics}; at least one must not be worse"
    return Ruling(rule="champion in all", passed=not worse, reason=reason, phase="training")
