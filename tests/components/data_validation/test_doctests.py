"""The examples in the docstrings of data validation are true."""

import doctest
import importlib

import pytest


@pytest.mark.parametrize(
    "module",
    [
        "data_validation.drift_words",
        "data_validation.duckdb.distances",
        "data_validation.periods",
        "data_validation.report",
        "shared.tfdv.schema",
    ],
)
def test_examples_in_docstrings_hold(module: str) -> None:
    tested = doctest.testmod(importlib.import_module(f"components.{module}"))

    assert tested.failed == 0
    assert tested.attempted > 0
