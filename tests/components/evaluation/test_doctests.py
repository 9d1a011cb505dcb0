"""The examples in the docstrings of the measures and the sequential tests are true."""

import doctest
import importlib

import pytest


@pytest.mark.parametrize(
    ("module", "examples"),
    [("measures.ranking", 2), ("measures.bootstrap", 3), ("measures.calibration", 1), ("sequential.budget", 1)],
)
def test_examples_in_docstrings_hold(module, examples):
    found = doctest.testmod(importlib.import_module(f"components.shared.{module}"))

    assert (found.failed, found.attempted) == (0, examples)
