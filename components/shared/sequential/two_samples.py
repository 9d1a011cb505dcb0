"""Test, look after look, whether an event is more frequent in one of two streams of requests.

Between two looks, n of one stream and m of the other came, and k of all had the event. If each request of the first
stream has w times the odds of the event that a request of the second has, the number x of events in the first stream,
given k, has Fisher's noncentral hypergeometric distribution: P(x) is proportional to C(n, x) C(m, k - x) w^x. The
ratio of that probability at w = r and at w = t is monotone in x for r > t, so its expectation is at most 1 for every
w up to t: it is an e-value against "the odds are at most t times as high", whatever the frequency of the event is and
however it changes between two looks. The product over all looks, and a mixture of such products over several r, may be
looked at after every request: it ever reaches 1 / a with a probability of at most a (Ville's inequality). See
Turner, Ly and Grünwald, "Generic E-variables for exact sequential k-sample tests that allow for optional stopping",
Journal of Statistical Planning and Inference, 2024, for tests of this kind.

What is assumed is that requests have the event independently of each other. One client that sends the same failing
request a thousand times counts a thousand times.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, fsum, lgamma, log

_FACTORS = (1.5, 2.0, 4.0, 10.0, 50.0)


@dataclass(frozen=True)
class OddsRise:
    """The odds of an event are more than ``tolerated`` times as high in the first stream as in the second.

    Attributes:
        tolerated: Ratio of the odds that is not a rise, above 0.
        factors: How many times the tolerated ratio is looked for, each above 1.
    """

    tolerated: float = 1.0
    factors: tuple[float, ...] = _FACTORS

    def __post_init__(self) -> None:
        if self.tolerated <= 0 or not self.factors or min(self.factors) <= 1:
            raise ValueError(f"tolerated {self.tolerated} must be above 0, and each of {self.factors} above 1")

    def log_values(self, events: int, requests: int, other_events: int, other_requests: int) -> list[float]:
        """Return the logarithm of the e-value of one look for each factor; without events, or a stream, all are 0.

        Raises:
            ValueError: If there are more events than requests, or a count is negative.
        """
        if not (0 <= events <= requests and 0 <= other_events <= other_requests):
            raise ValueError(f"{events} of {requests} and {other_events} of {other_requests} are no counts of events")
        total = events + other_events
        least, most = max(0, total - other_requests), min(requests, total)
        if least == most:
            return [0.0] * len(self.factors)
        ways = [_log_choose(requests, x) + _log_choose(other_requests, total - x) for x in range(least, most + 1)]
        tolerated = _log_sum([w + x * log(self.tolerated) for x, w in enumerate(ways, least)])
        return [
            events * log(factor)
            - _log_sum([w + x * log(self.tolerated * factor) for x, w in enumerate(ways, least)])
            + tolerated
            for factor in self.factors
        ]


def log_mean(log_values: Sequence[float]) -> float:
    """Return the logarithm of the mean of numbers that are given as logarithms.

    >>> log_mean([0.0, 0.0])
    0.0
    """
    return _log_sum(log_values) - log(len(log_values))


def _log_sum(logs: Sequence[float]) -> float:
    largest = max(logs)
    return largest + log(fsum(exp(value - largest) for value in logs))


def _log_choose(n: int, k: int) -> float:
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)
