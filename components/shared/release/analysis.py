"""Whether a candidate that has some of the traffic does harm: sequential tests against the champion, look after look.

Four events of a request are compared between the candidate and the champion, over the same time:

- ``failed``: the request failed through the version (an exception, a score that is not finite);
- ``refused``: the version refused it as invalid;
- ``slow``: it took longer than 95 % of the champion's requests took at the start of the step. A candidate may be slow
  more often by ``slow_odds``;
- ``scores``: the score lies in one of ten ranges, the deciles of the champion's first scores. A better model scores
  differently, so the odds of each range may differ by ``score_odds``, both ways. Constant answers and a feature in
  other units differ by more.

Each is an e-process of ``components.shared.sequential.two_samples``. Together they stop a candidate that does no harm
with a probability of at most ``false_rollbacks``, however often and however long they are looked at.
"""

from collections.abc import Mapping
from datetime import datetime
from math import exp
from types import MappingProxyType
from typing import Literal, NamedTuple

from pydantic import Field

from components.shared.documents.document import Part
from components.shared.documents.traffic_counts import LATENCY_EDGES_MS, ShadowCounts, TrafficCounts, VersionCounts
from components.shared.release import outcomes, trial
from components.shared.release.outcomes import LabelVerdict, PairedOutcomes
from components.shared.release.plan import Limits, Plan, PlanStep
from components.shared.release.trial import Trial, TrialVerdict
from components.shared.sequential.two_samples import OddsRise, log_mean

CHECKS = ("failed", "refused", "slow", "scores")
_WORDS = MappingProxyType(
    {
        "failed": "fails more requests",
        "refused": "refuses more requests",
        "slow": "is slow more often",
        "scores": "answers with other scores",
    }
)
_SLOW_AFTER = 100
_FAST_SHARE = 0.95
_RISE = OddsRise()


class Exposure(Part):
    """What is known of one step of a release, so that any process can go on with it.

    Args:
        step: Which step of the plan.
        began: When the candidate got its share of this step.
        server: Whose counts ``seen`` are.
        seen: Version to its counts at the last look.
        candidate: What the candidate got in this step.
        champion: What the version that it is compared with got in this step.
        shadow: What the candidate did as a shadow in this step.
        slow_ms: A request that takes longer is slow; None until the champion has answered enough.
        evidence: Check to the logarithms of its e-processes, over all steps so far.
        outcomes: What the labels of mirrored requests say; None while they are not looked at.
        trial: What the outcomes of an A/B test say; likewise.
    """

    step: int
    began: datetime
    server: str | None = None
    seen: dict[str, VersionCounts] = Field(default_factory=dict)
    seen_shadow: ShadowCounts = ShadowCounts()
    candidate: VersionCounts = VersionCounts()
    champion: VersionCounts = VersionCounts()
    shadow: ShadowCounts = ShadowCounts()
    slow_ms: float | None = None
    evidence: dict[str, tuple[float, ...]] = Field(default_factory=dict)
    outcomes: PairedOutcomes | None = None
    trial: Trial | None = None

    def following(self, step: int, now: datetime) -> "Exposure":
        """Return what is known when the next step begins: counts start at 0, evidence goes on."""
        kept = {"server", "seen", "seen_shadow", "slow_ms", "evidence"}
        return Exposure(step=step, began=now, **{name: getattr(self, name) for name in kept})

    @property
    def e_values(self) -> dict[str, float]:
        """Check to its e-value: how many times more the counts speak for harm than for none."""
        return {check: exp(min(log_mean(logs), 700.0)) for check, logs in self.evidence.items() if logs}


class StepVerdict(NamedTuple):
    """What is to become of a step, and why."""

    outcome: Literal["wait", "pass", "fail", "inconclusive"]
    reason: str


def look(exposure: Exposure, counts: TrafficCounts, *, former: str, candidate: str, limits: Limits) -> Exposure:
    """Add what has come since the last look.

    Args:
        exposure: What was known.
        counts: The server's counts now.
        former: The version that the candidate is compared with.
        candidate: The candidate's version.
        limits: What is tolerated.
    """
    same = exposure.server == counts.server
    totals = {version: counts.versions.get(version, VersionCounts()) for version in (former, candidate)}
    new = {
        version: total.since(exposure.seen.get(version, VersionCounts()) if same else VersionCounts())
        for version, total in totals.items()
    }
    shadow = counts.shadows.get(candidate, ShadowCounts())
    evidence = dict(exposure.evidence)
    for check, logs in _logs(new[candidate], new[former], exposure.slow_ms, limits).items():
        evidence[check] = _product(evidence.get(check, ()), logs)
    champion = exposure.champion + new[former]
    return exposure.model_copy(
        update={
            "server": counts.server,
            "seen": totals,
            "seen_shadow": shadow,
            "candidate": exposure.candidate + new[candidate],
            "champion": champion,
            "shadow": _shadow_sum(exposure.shadow, shadow, exposure.seen_shadow if same else ShadowCounts()),
            "slow_ms": exposure.slow_ms or _slow_ms(champion),
            "evidence": evidence,
        }
    )


def learn(exposure: Exposure, newest: PairedOutcomes | Trial | None) -> Exposure:
    """Add what labels or outcomes say by now; None changes nothing."""
    if isinstance(newest, PairedOutcomes):
        return exposure.model_copy(update={"outcomes": newest})
    return exposure if newest is None else exposure.model_copy(update={"trial": newest})


def judge(plan: Plan, step: PlanStep, exposure: Exposure, now: datetime, unread: str | None = None) -> StepVerdict:
    """Say what is to become of a step.

    Args:
        plan: The release's.
        step: One of its steps.
        exposure: What is known.
        now: The time of the look.
        unread: Why some of the counts are missing now; the step can't pass then, since they may hide harm.
    """
    limit = len(CHECKS) / plan.limits.false_rollbacks
    for check, value in exposure.e_values.items():
        if value >= limit:
            return StepVerdict("fail", f"it {_WORDS[check]} than the champion ({_shares(check, exposure)})")
    elapsed_s = (now - exposure.began).total_seconds()
    requests = exposure.candidate.requests
    if unread is not None:
        outcome: Literal["wait", "inconclusive"] = "wait" if elapsed_s < step.deadline_s else "inconclusive"
        return StepVerdict(outcome, f"{requests} requests, no harm that was counted, but {unread}")
    if elapsed_s >= step.soak_s and requests >= step.min_requests:
        harmless = f"no harm in {requests} requests over {elapsed_s:.0f} s"
        shown: LabelVerdict | TrialVerdict
        if plan.labels is not None and step.mirrored:
            shown = outcomes.judge(plan.labels, exposure.outcomes or PairedOutcomes())
        elif plan.trial is not None:
            shown = trial.judge(plan.trial, exposure.trial or Trial())
        else:
            return StepVerdict("pass", harmless)
        if shown.outcome != "wait":
            return StepVerdict(shown.outcome, shown.reason)
        return StepVerdict("wait" if elapsed_s < step.deadline_s else "inconclusive", f"{harmless}, but {shown.reason}")
    if elapsed_s >= step.deadline_s:
        return StepVerdict(
            "inconclusive",
            f"only {requests} of the {step.min_requests} requests that it needs came in {elapsed_s:.0f} s",
        )
    return StepVerdict(
        "wait", f"{requests} of {step.min_requests} requests, {elapsed_s:.0f} of {step.soak_s:.0f} s, no harm so far"
    )


def _shares(check: str, exposure: Exposure) -> str:
    """Give the numbers behind a harm."""
    ours, theirs = exposure.candidate, exposure.champion
    if check == "scores":
        spread = max(_fractions(ours.scores)), max(_fractions(theirs.scores))
        return f"its commonest tenth of scores has {spread[0]:.0%} of the rows, the champion's {spread[1]:.0%}"
    if check == "slow":
        assert exposure.slow_ms is not None
        pairs = [(slower(counts, exposure.slow_ms), counts.answered) for counts in (ours, theirs)]
        return f"above {exposure.slow_ms:g} ms: {pairs[0][0]} of {pairs[0][1]} against {pairs[1][0]} of {pairs[1][1]}"
    events = (ours.failed, theirs.failed) if check == "failed" else (ours.refused, theirs.refused)
    return f"{events[0]} of {ours.requests} against {events[1]} of {theirs.requests}"


def _fractions(counts: tuple[int, ...]) -> list[float]:
    return [count / max(sum(counts), 1) for count in counts] or [0.0]


def _logs(
    ours: VersionCounts, theirs: VersionCounts, slow_ms: float | None, limits: Limits
) -> Mapping[str, list[float]]:
    """Return the logarithms of the e-values of one look, by check."""
    logs = {
        "failed": _RISE.log_values(ours.failed, ours.requests, theirs.failed, theirs.requests),
        "refused": _RISE.log_values(ours.refused, ours.requests, theirs.refused, theirs.requests),
    }
    if slow_ms is not None:
        mine, others = slower(ours, slow_ms), slower(theirs, slow_ms)
        logs["slow"] = OddsRise(limits.slow_odds).log_values(mine, ours.answered, others, theirs.answered)
    if ours.scores and theirs.scores and len(ours.scores) == len(theirs.scores):
        rise, rows = OddsRise(limits.score_odds), (sum(ours.scores), sum(theirs.scores))
        logs["scores"] = [
            value
            for mine, others in zip(ours.scores, theirs.scores, strict=True)
            for value in (
                *rise.log_values(mine, rows[0], others, rows[1]),
                *rise.log_values(others, rows[1], mine, rows[0]),
            )
        ]
    return logs


def _product(before: tuple[float, ...], now: list[float]) -> tuple[float, ...]:
    """Multiply e-processes; where the ranges of the scores have changed in number, each goes on from the mean."""
    if len(before) != len(now):
        start = log_mean(before) if before else 0.0
        return tuple(start + value for value in now)
    return tuple(old + new for old, new in zip(before, now, strict=True))


def _slow_ms(champion: VersionCounts) -> float | None:
    """Return the edge below which the champion answers 95 % of its requests; None while it has answered few."""
    if champion.answered < _SLOW_AFTER:
        return None
    below = 0
    for edge, count in zip(LATENCY_EDGES_MS, champion.latencies, strict=False):
        below += count
        if below >= _FAST_SHARE * champion.answered:
            return edge
    return LATENCY_EDGES_MS[-1]


def slower(counts: VersionCounts, edge_ms: float) -> int:
    """Return how many answers took longer than one of ``LATENCY_EDGES_MS``."""
    return sum(counts.latencies[LATENCY_EDGES_MS.index(edge_ms) + 1 :])


def _shadow_sum(total: ShadowCounts, now: ShadowCounts, before: ShadowCounts) -> ShadowCounts:
    return ShadowCounts(
        rows=total.rows + now.rows - before.rows,
        disagreements=total.disagreements + now.disagreements - before.disagreements,
        dropped=total.dropped + now.dropped - before.dropped,
    )
