"""The command says in a sentence that it runs from a checkout, and which package shadows its own."""

import os
import subprocess

import pytest

from components.shared.errors import InputError
from pipelines.command import checkout
from pipelines.images.environments import ROOT
from tests.end_to_end.command import PERENNIAL


def test_a_checkout_is_fine():
    checkout.check(ROOT)


def test_an_installed_package_lacks_what_a_checkout_has(tmp_path):
    with pytest.raises(InputError, match=r"lacks infra/uv.txt, .*; it runs from a checkout only"):
        checkout.check(tmp_path)


def test_a_package_of_another_distribution_is_named(tmp_path):
    (tmp_path / "serving").mkdir()
    (tmp_path / "serving" / "__init__.py").touch()
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run([str(PERENNIAL), "runs"], cwd=tmp_path, env=environment, capture_output=True, text=True)

    assert done.returncode == 2
    assert f"the package 'serving' is imported from {tmp_path / 'serving'} instead of" in done.stderr
    assert "Traceback" not in done.stderr
