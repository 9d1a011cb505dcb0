"""The examples in the server's docstrings are true."""

import doctest
import importlib

import pytest


@pytest.mark.parametrize(
    "module",
    ["access_log", "counting", "entity", "event_time", "finite", "grpc_server", "refusal", "request_id", "tensors"],
)
def test_the_examples_of_a_module_hold(module: str):
    results = doctest.testmod(importlib.import_module(f"serving.{module}"))

    assert results.attempted > 0
    assert results.failed == 0
