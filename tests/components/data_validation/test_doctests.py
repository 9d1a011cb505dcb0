"""The examples in the docstrings of data validation are true."""

import doctest
import importlib

import pytest


@pytest.mark.parametrize("module", ["drift_words", "duckdb.distances", "periods", "report", "schema"])
def test_examples_in_docstrings_hold(module: str) -> None:
    tested = doctest.testmod(importlib.import_module(f"components.data_validation.{module}"))

    assert tested.failed == 0
    assert tested.attempted > 0
