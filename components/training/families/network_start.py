"""Begin the network's training at the champion's weights: loaded into our own layers, never from a stored config."""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from components.shared.documents.preprocessing import NetworkPreprocessing
from components.shared.learning import network
from components.shared.learning.encoding import Encoding
from components.shared.learning.labels import LabelEncoding
from components.shared.project import Training
from components.training.families.replayed import ReplayedRows
from components.training.families.start import Start, origin_continued, origin_from_scratch

_log = logging.getLogger(__name__)
SLOWER = 0.5
"""Factor of the learning rate, which was searched for initial weights: steps of that size would leave the champion."""


@dataclass(frozen=True)
class NetworkStart:
    """What a training begins with; without weights, from scratch."""

    hyperparameters: Training
    encoding: Encoding | None = None
    weights: Sequence[NDArray[Any]] | None = None
    champion: str = ""
    refusal: str = ""
    rows: ReplayedRows | None = None
    """Training rows of further epochs; None takes all."""

    def origin(self, epochs: int) -> str:
        """Say what was continued, or why nothing was; empty if nobody asked."""
        if self.weights is None:
            return origin_from_scratch(self.refusal) if self.refusal else ""
        if epochs == 0:
            return f"that of {self.champion}, which no epoch improved"
        return origin_continued(f"{self.champion} for {epochs:,} {'epoch' if epochs == 1 else 'epochs'}", self.rows)


def load(start: Start | None, target: LabelEncoding, hyperparameters: Training) -> NetworkStart:
    """Load the champion's network; its encoding and the shapes of its layers replace those of the study."""
    if start is None:
        return NetworkStart(hyperparameters)
    learned = start.members.get("network")
    if not isinstance(learned, NetworkPreprocessing):
        refusal = start.refusal("network")
        _log.info("the network begins from scratch, because %s", refusal)
        return NetworkStart(hyperparameters, refusal=refusal)
    encoding = _encoding(learned)
    shapes = {
        "hidden": ",".join(map(str, learned.hidden)) or "none",
        "embedding": learned.embedding,
        "bins": max(Counter(encoding.bucket_feature).values(), default=hyperparameters.bins),
    }
    core = network.core(encoding, target, hyperparameters.model_copy(update={**shapes, "dropout": learned.dropout}))
    network.assemble(encoding, target, core).load_weights(str(start.package / learned.weights))
    _log.info("the network continues from %s", start.champion)
    slower = {"learning_rate": hyperparameters.learning_rate * SLOWER}
    continued = hyperparameters.model_copy(update=shapes | slower)
    return NetworkStart(continued, encoding, core.get_weights(), start.champion, rows=start.rows)


def _encoding(learned: NetworkPreprocessing) -> Encoding:
    numbers = {name: list(values) for name, values in learned.numbers.model_dump().items()}
    return Encoding(**numbers, vocabulary=[list(words) for words in learned.vocabulary])
