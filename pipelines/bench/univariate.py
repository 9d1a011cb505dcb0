"""Seconds of the tests of every column by itself, with the library of the environment that runs this.

``python -m pipelines.bench.univariate LIBRARY ROWS FOLDER`` prints them as JSON; LIBRARY is open or alibi. Of twenty
columns a quarter are categories.
"""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from components.shared.window_drift.detector import Detector

_NUMBERS, _CATEGORIES = 15, 5


def _open() -> Detector:
    from components.drift.logic import OpenDetector

    return OpenDetector()


def _alibi() -> Detector:
    from components.alibi_drift.logic import AlibiDetector

    return AlibiDetector("classifier")


LIBRARIES: dict[str, Callable[[], Detector]] = {"open": _open, "alibi": _alibi}


def measure(library: str, rows: int) -> dict[str, float]:
    """Compare two samples column by column and together; return the seconds of each, without imports."""
    detector, rng = LIBRARIES[library](), np.random.default_rng(7)
    reference, window = (_table(rows, rng) for _ in range(2))
    for name in ("f0", "c0"):
        detector.column(reference[name], window[name], 1)
    before = time.perf_counter()
    for name in reference.column_names:
        detector.column(reference[name], window[name], reference.num_columns)
    columns_s = time.perf_counter() - before
    before = time.perf_counter()
    detector.joint(reference, window)
    return {"columns_s": columns_s, "joint_s": time.perf_counter() - before}


def _table(rows: int, rng: np.random.Generator) -> pa.Table:
    columns: dict[str, Any] = {f"f{number}": rng.normal(size=rows) for number in range(_NUMBERS)}
    return pa.table(columns | {f"c{number}": rng.choice(list("abcdef"), rows) for number in range(_CATEGORIES)})


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], int(sys.argv[2]))))
