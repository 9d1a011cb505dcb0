"""``replays.json``: the same scenario with several seeds, and what the loop was worth on average."""

from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar

import numpy as np

from components.shared.documents.document import Document, Part
from pipelines.replay.outcome import ReplayOutcome

_RESAMPLES, _CONFIDENCE, _FEWEST = 10_000, 0.95, 5


class SeedResult(Part):
    """One seed.

    Args:
        seed: Of the simulated business.
        found_days: Days from the change to the first advice to act; None if there was none.
        retrainings: New releases.
        gain: What the decisions were worth above acting on nobody, in the project's currency.
        never: The same for the model that is never retrained.
        oracle: The same for the oracle.
        recovered: The share of what the oracle gains on ``never``.
    """

    seed: int
    found_days: int | None
    retrainings: int
    gain: float
    never: float
    oracle: float
    recovered: float | None


class Mean(Part):
    """A mean over seeds with its 95 % interval; without one if there are fewer than five seeds."""

    value: float
    low: float | None = None
    high: float | None = None


class SeedResults(Document):
    """Every seed of a scenario, and the means.

    Args:
        scenario: Its name.
        currency: Of all gains.
        seeds: One by one.
        recovered: The recovered share; None where the oracle gains nothing.
        advantage: What the loop gains on the model that is never retrained.
    """

    FILE: ClassVar[str] = "replays.json"

    scenario: str
    currency: str
    seeds: tuple[SeedResult, ...]
    recovered: Mean | None
    advantage: Mean


def summarised(outcomes: Sequence[tuple[int, ReplayOutcome]]) -> SeedResults:
    """Put the replays of one scenario together, each with its seed."""
    results = tuple(_result(seed, outcome) for seed, outcome in outcomes)
    shares = [each.recovered for each in results if each.recovered is not None]
    first = outcomes[0][1]
    return SeedResults(
        scenario=first.scenario,
        currency=first.currency,
        seeds=results,
        recovered=mean(shares) if shares else None,
        advantage=mean([each.gain - each.never for each in results]),
    )


def mean(values: Sequence[float]) -> Mean:
    """Return the mean with its bootstrap percentile interval (Efron 1979), which needs five values.

    >>> mean([1.0, 2.0, 3.0]).low is None
    True
    >>> five = mean([1.0, 2.0, 3.0, 4.0, 5.0])
    >>> five.value, five.low < 3 < five.high
    (3.0, True)
    """
    sample = np.asarray(values, dtype=float)
    if len(sample) < _FEWEST:
        return Mean(value=float(sample.mean()))
    draws = np.random.default_rng(0).integers(0, len(sample), (_RESAMPLES, len(sample)))
    tail = (1 - _CONFIDENCE) / 2
    low, high = np.quantile(sample[draws].mean(axis=1), [tail, 1 - tail])
    return Mean(value=float(sample.mean()), low=float(low), high=float(high))


def sentence(results: SeedResults) -> str:
    """Say what the loop was worth on average.

    >>> one = SeedResult(seed=7, found_days=40, retrainings=1, gain=3.0, never=1.0, oracle=4.0, recovered=2 / 3)
    >>> both = (one, one.model_copy(update={"seed": 8}))
    >>> sentence(SeedResults(scenario="sudden", currency="EUR", seeds=both, recovered=Mean(value=0.667),
    ...                      advantage=Mean(value=2.0)))
    '2 seeds of sudden: 2 EUR better than never retrained on average; 67 % recovered; 2 new releases in all.'
    """
    parts = [f"{results.advantage.value:,.0f} {results.currency}{_interval(results.advantage, 1, ',.0f')}"]
    parts[0] += " better than never retrained on average"
    if results.recovered is not None:
        parts.append(f"{results.recovered.value * 100:.0f} %{_interval(results.recovered, 100, '.0f')} recovered")
    parts.append(f"{sum(each.retrainings for each in results.seeds)} new releases in all")
    return f"{len(results.seeds)} seeds of {results.scenario}: {'; '.join(parts)}."


def _interval(of: Mean, scale: float, digits: str) -> str:
    if of.low is None or of.high is None:
        return ""
    return f" (95 % interval {of.low * scale:{digits}} to {of.high * scale:{digits}})"


def _result(seed: int, outcome: ReplayOutcome) -> SeedResult:
    totals = outcome.totals
    days = None
    if outcome.changed is not None and outcome.found is not None:
        days = (datetime.fromisoformat(outcome.found) - datetime.fromisoformat(outcome.changed)).days
    return SeedResult(
        seed=seed,
        found_days=days,
        retrainings=len(outcome.releases),
        gain=totals.gain,
        never=totals.never,
        oracle=totals.oracle,
        recovered=outcome.recovered if outcome.changed is not None else None,
    )
