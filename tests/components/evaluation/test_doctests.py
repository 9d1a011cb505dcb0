"""The examples in the docstrings of the measures are true."""

import doctest
import importlib

import pytest


@pytest.mark.parametrize(("module", "examples"), [("ranking", 2), ("bootstrap", 3), ("calibration", 1)])
def test_examples_in_docstrings_hold(module, examples):
    found = doctest.testmod(importlib.import_module(f"components.shared.measures.{module}"))

    assert (found.failed, found.attempted) == (0, examples)
