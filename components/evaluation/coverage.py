"""How many of the test rows the candidate's intervals, or sets, hold, against the level that they are made for."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaln

from components.evaluation.judged import Judged
from components.shared.documents.measurements import Coverage, Metric
from components.shared.documents.model_facts import ConformalScores
from components.shared.measures import conformal
from components.shared.measures.proportion import Proportion, proportion
from components.shared.measures.ranking import Floats
from components.shared.wording import significant

_LEVELS = (0.5, 0.8, 0.9, 0.95)
_FIFTHS = 5


class _Held(NamedTuple):
    """Which rows' labels are in their regions, and the size of each region: its width, or its number of classes."""

    inside: NDArray[np.bool_]
    sizes: Floats


def coverage(judged: Judged) -> tuple[Coverage, ...]:
    """Measure every level that the validation rows suffice for; nothing of a package without calibration.

    The validation rows, from which the regions are made, have also stopped the training and chosen the model; only
    rows that neither saw show whether the regions hold what they promise.
    """
    facts = judged.package.facts
    if facts.conformal is None:
        return ()
    measured = []
    for level in _LEVELS:
        limits = conformal.limits(facts.conformal, level)
        if limits is not None:
            held = _held(judged, facts.conformal, limits)
            measured.append(_measured(judged, level, held, facts.conformal))
    return tuple(measured)


def _held(judged: Judged, calibrated: ConformalScores, limits: Floats) -> _Held:
    facts, scores, truth = judged.package.facts, judged.scorecards.candidate.score, judged.truth
    if facts.task == "regression":
        lower, upper = conformal.bounds(calibrated, scores, limits)
        return _Held((lower <= truth) & (truth <= upper), upper - lower)
    class_count = len(facts.classes or ())
    # Test rows may have classes that the model never saw, which no set of it has.
    sets = conformal.members(facts.task, scores if scores.ndim == 1 else scores[:, :class_count], limits)
    numbers = truth.astype(np.intp)
    inside = (numbers < class_count) & sets[np.arange(len(sets)), np.minimum(numbers, class_count - 1)]
    return _Held(inside, sets.sum(axis=1).astype(np.float64))


def _measured(judged: Judged, level: float, held: _Held, calibrated: ConformalScores) -> Coverage:
    confidence = judged.settings.confidence
    share = proportion(held.inside, judged.clusters, confidence)
    return Coverage(
        level=level,
        held=Metric(value=share.share, low=share.low, high=share.high),
        expected_low=_expected_low(calibrated, level, share, confidence),
        mean_size=float(held.sizes.mean()),
        single=None if judged.package.facts.task == "regression" else float((held.sizes == 1).mean()),
        by_part={name: float(held.inside[rows].mean()) for name, rows in _parts(judged).items()},
    )


def _expected_low(calibrated: ConformalScores, level: float, share: Proportion, confidence: float) -> float:
    """Return the share that test rows like the validation rows would hold at least, but for chance in both.

    The share of new rows that a limit holds is itself random, as the validation rows are a sample: for rank k among n
    of them it has the distribution Beta(k, n + 1 - k) (Vovk, 2012), so that the number of test rows is beta-binomial.
    Groups of about equal size are taken together.
    """
    ranks = [conformal.rank(group.rows, level) for group in calibrated.groups]
    below = sum(ranks)
    above = sum(group.rows + 1 - rank for group, rank in zip(calibrated.groups, ranks, strict=True))
    sampled = max(1, int(share.effective_rows))
    hits = np.arange(sampled + 1)
    density = betaln(hits + below, sampled - hits + above) - betaln(hits + 1, sampled - hits + 1) - betaln(below, above)
    return float(np.searchsorted(np.cumsum(np.exp(density)) / (sampled + 1), (1 - confidence) / 2)) / sampled


def _parts(judged: Judged) -> dict[str, NDArray[np.intp]]:
    """Return the rows of each class, or of each fifth of a regression's answers, the smallest first."""
    if judged.classes:
        numbers = judged.truth.astype(np.intp)
        parts = {name: np.flatnonzero(numbers == number) for number, name in enumerate(judged.classes)}
    else:
        order = np.argsort(judged.scorecards.candidate.score, kind="stable")
        scores = judged.scorecards.candidate.score[order]
        parts = {
            f"{significant(scores[rows[0]])} to {significant(scores[rows[-1]])}": order[rows]
            for rows in np.array_split(np.arange(len(order)), _FIFTHS)
            if len(rows)
        }
    return {name: rows for name, rows in parts.items() if len(rows)}
