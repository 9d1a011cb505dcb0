"""Answer a small, random share of decisions with the other class, so that labels stay comparable.

A decision may hide its label (a refused loan is never repaid) or change it (a customer who was called stays). Then the
labels that become known are those of a chosen part of the rows. A random share that is decided otherwise shows what
would have happened, and the logged probabilities let performance weigh it (Horvitz and Thompson, 1952).
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from components.shared.inference import PROBE

_RANGE = 2**64


class Explored(NamedTuple):
    """The decisions of a request, some of which were reversed.

    Attributes:
        answered: What each row is answered with.
        propensities: The probability with which the row was answered so, 0 to 1.
    """

    answered: list[Any]
    propensities: list[float]


@dataclass(frozen=True)
class Exploration:
    """Which decisions are reversed, and how often.

    Attributes:
        shares: Decision to the share of its rows that is answered otherwise, above 0 and below 1.
    """

    shares: Mapping[str, float] = field(default_factory=dict)

    def explore(self, request_id: str, decisions: Sequence[Any], classes: Sequence[Any]) -> Explored | None:
        """Reverse some decisions between two classes; None where nothing is explored.

        The same request gets the same answer on every server, and the request with which a release is tested gets the
        model's own.

        >>> explored = Exploration({"no": 0.5}).explore("id", ["no"] * 4 + ["yes"], ["no", "yes"])
        >>> explored.answered, explored.propensities
        (['yes', 'yes', 'no', 'yes', 'yes'], [0.5, 0.5, 0.5, 0.5, 1.0])
        """
        if not self.shares or len(classes) != 2 or request_id.startswith(PROBE):
            return None
        answered, propensities = list(decisions), [1.0] * len(decisions)
        for row, decision in enumerate(decisions):
            share = self.shares.get(str(decision))
            if share is None:
                continue
            is_reversed = _uniform(f"{request_id}:{row}") < share
            if is_reversed:
                answered[row] = classes[1] if decision == classes[0] else classes[0]
            propensities[row] = share if is_reversed else 1 - share
        return Explored(answered, propensities)


def _uniform(text: str) -> float:
    """Return a number from 0 to below 1 that any text has for good."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) / _RANGE
