"""Hold the exported model to the trained one, over real rows and over everything that a request may throw at it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.shared.documents.training_history import ExportParity
from components.shared.errors import StepFailed
from components.shared.inputs.rows import Inputs
from components.shared.learning.labels import LabelEncoding
from components.shared.package.session import OUTPUT, open_session

TOLERANCE = 1e-5
_EXTREMES = (np.nan, 0.0, -0.0, 1e-38, 1e30, -1e30, float(np.finfo(np.float32).max), float(np.finfo(np.float32).min))
_WORDS = ("", " ", "never seen", "Zürich", "東京", "🙂", "é", "e\u0301", "0:", "a" * 1000, "NaN", "null", "\t\n")
_REAL_ROWS = 512
_ODD_ROWS = 256


def tolerance(target: LabelEncoding, share: float = TOLERANCE) -> float:
    """Return the largest tolerated difference of two scores: a share of probability 1, or of the label's own size."""
    return share if target.task != "regression" else share * (abs(target.mean) + target.scale)


def probe(real: Inputs, edges: Sequence[NDArray[np.float32]], seed: int) -> Inputs:
    """Return real rows, then rows that mix real values with unseen, missing, empty, extreme and non-ASCII ones.

    Args:
        real: Training rows.
        edges: For each numeric feature, the values at which the model may jump or bend.
        seed: Chooses the rows and what they are mixed with.
    """
    random = np.random.default_rng(seed)
    some = real.take(random.permutation(len(real))[:_REAL_ROWS])
    odd = real.take(random.integers(0, len(real), _ODD_ROWS))
    for column, own in enumerate(edges):
        strange = random.random(len(odd)) < 0.5
        choices = np.concatenate([np.array(_EXTREMES, np.float32), random.permutation(own)[:_ODD_ROWS]])
        odd.numeric[strange, column] = random.choice(choices, int(strange.sum()))
    strange = random.random(odd.categorical.shape) < 0.5
    odd.categorical[strange] = random.choice(np.array(_WORDS, object), int(strange.sum()))
    alike = real.take(np.zeros(len(_EXTREMES) + len(_WORDS), int))
    alike.numeric[:] = np.resize(np.array(_EXTREMES, np.float32), len(alike))[:, None]
    alike.categorical[:] = np.resize(np.array(_WORDS, object), len(alike))[:, None]
    parts = (some, odd, alike)
    return Inputs(
        np.concatenate([part.numeric for part in parts]), np.concatenate([part.categorical for part in parts])
    )


def check(
    answer: Callable[[Inputs], NDArray[np.float32]], exported: Path, inputs: Inputs, allowed: float
) -> ExportParity:
    """Compare the export with the trained model, row by row.

    Args:
        answer: The trained model: raw inputs to scores.
        exported: The ONNX file.
        inputs: The rows to compare on.
        allowed: Largest tolerated absolute difference.

    Returns:
        The largest difference, and the number of rows.

    Raises:
        StepFailed: If the export cannot be loaded, answers with another shape or with infinities, or differs.
    """
    try:
        exported_scores = open_session(exported, threads=0).run([OUTPUT], inputs.feed())[0]
    except Exception as error:  # onnxruntime raises its own classes, which share no base but Exception
        cause = " ".join(str(error).split())[:300]
        raise StepFailed(f"the exported model cannot answer: {cause}; it was not kept.") from error
    scores = answer(inputs)
    if exported_scores.shape != scores.shape or not (np.isfinite(exported_scores).all() and np.isfinite(scores).all()):
        raise StepFailed(
            f"the exported model answers {exported_scores.shape}, {_finite(exported_scores)} finite, the trained one "
            f"{scores.shape}, {_finite(scores)} finite; both must answer every row. It was not kept."
        )
    error_ = float(np.abs(exported_scores.astype(np.float64) - scores).max())
    if error_ > allowed:
        raise StepFailed(
            f"the exported model differs from the trained one by up to {error_:.3g} over {len(inputs)} rows; "
            f"at most {allowed:.3g} is tolerated. It was not kept."
        )
    return ExportParity(max_abs_error=error_, rows=len(inputs))


def _finite(scores: NDArray[Any]) -> int:
    return int(np.isfinite(scores).sum())
