"""What the docstrings of the model and of its steps show is what comes out."""

import doctest
import importlib
from pathlib import Path

import pytest

import components.shared.inputs
import components.shared.learning
import components.training
import components.tuning

MODULES = [
    f"{package.__name__}.{path.stem}"
    for package in (components.shared.inputs, components.shared.learning, components.training, components.tuning)
    for path in sorted(Path(package.__path__[0]).glob("*.py"))
    if path.stem not in ("__init__", "component")
]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_hold(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_there_are_examples():
    assert sum(doctest.testmod(importlib.import_module(name)).attempted for name in MODULES) >= 2
