"""What a model decides by its scores: the one definition for the server, for batches and for tables."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from components.shared.documents.document import Task


def decide(
    task: Task, classes: Sequence[str], threshold: float | None, scores: NDArray[np.floating]
) -> list[str] | None:
    """Return the decision per row: by the threshold, or the likeliest class; None where the model takes none.

    Args:
        task: The model's.
        classes: Its answers, the negative one first for a binary task.
        threshold: A binary score at or above it is acted on; None decides nothing.
        scores: (rows,) or (rows, classes).
    """
    if task == "multiclass":
        return [classes[likeliest] for likeliest in scores.argmax(axis=1)]
    if task == "binary" and threshold is not None:
        negative, positive = classes
        return [positive if score >= threshold else negative for score in scores.tolist()]
    return None
