"""Prints what the shap package says of one function, for ``test_contributions``; needs shap and numpy only."""

import json
import sys
from typing import Any

import numpy as np


def margin(rows: np.ndarray) -> np.ndarray:
    """Return (rows,) of a function in which up to three of five features meet."""
    a, b, c, d, e = rows.T
    result: np.ndarray = 0.5 * a - b + a * b + np.maximum(c * d * e, -1.0) + (a > 0.3) * (e > 0) * d
    return result


def main() -> None:
    """Read the rows from standard input, and write their values."""
    import shap

    asked: dict[str, Any] = json.load(sys.stdin)
    explainer = shap.explainers.Exact(margin, np.array(asked["reference"]))
    explained = explainer(np.array(asked["rows"]))
    json.dump({"values": explained.values.tolist(), "base": explained.base_values.tolist()}, sys.stdout)


if __name__ == "__main__":
    main()
