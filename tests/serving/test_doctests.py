"""The examples in the server's docstrings are true."""

import doctest
import importlib
from pathlib import Path

import pytest

import serving

ROOT = Path(serving.__file__).parent
MODULES = sorted(
    ".".join(path.relative_to(ROOT.parent).with_suffix("").parts)
    for path in ROOT.rglob("*.py")
    if "\n    >>> " in path.read_text()
)


def test_examples_exist():
    assert len(MODULES) > 5


@pytest.mark.parametrize("module", MODULES)
def test_the_examples_of_a_module_hold(module: str):
    results = doctest.testmod(importlib.import_module(module))

    assert results.attempted > 0
    assert results.failed == 0
