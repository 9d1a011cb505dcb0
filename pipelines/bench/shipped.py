"""Write the tables that scikit-learn brings: ``python -m pipelines.bench.shipped FOLDER``; in training's virtualenv."""

import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import csv
from sklearn import datasets


def table(bunch: Any) -> pa.Table:
    """Return the features of one table, and its label as the last column, ``target``."""
    names = [str(name) for name in bunch.feature_names]
    return pa.table([*map(pa.array, bunch.data.T), pa.array(bunch.target)], names=[*names, "target"])


if __name__ == "__main__":
    for load in (datasets.load_breast_cancer, datasets.load_diabetes, datasets.load_wine, datasets.load_digits):
        csv.write_csv(table(load()), Path(sys.argv[1]) / f"{load.__name__.removeprefix('load_')}.csv")
