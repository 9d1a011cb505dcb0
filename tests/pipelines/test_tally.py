"""The last line of the test run counts the tests of every process."""

import re
import subprocess
import sys

from pipelines.images.environments import ROOT
from tests.__main__ import ALLOWED_SKIPS
from tests.tally import Tally, read_reasons

CASES = """
import pytest
def test_passes(): pass
def test_fails(): assert False
@pytest.mark.parametrize("number", range(3))
@pytest.mark.skip(reason="no Docker engine")
def test_is_skipped(number): pass
@pytest.fixture
def broken(): raise OSError
def test_cannot_start(broken): pass
"""


def test_tests_are_counted_over_processes_and_a_reason_is_listed_once(tmp_path):
    (tmp_path / "test_cases.py").write_text(CASES)
    tally = Tally()
    for number in range(2):
        results = tmp_path / f"{number}.xml"
        pytest = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={results}", "."]
        subprocess.run(pytest, cwd=tmp_path, stdout=subprocess.DEVNULL)
        tally.add(results)
    tally.add(tmp_path / "killed.xml")

    assert str(tally) == "2 passed, 4 failed, 6 skipped"
    assert list(tally.skipped_lines()) == ["skipped:", "    6  no Docker engine"]
    (tmp_path / "allowed.txt").write_text("# tools\n\nno Docker\n")
    assert tally.unexpected(read_reasons(tmp_path / "allowed.txt")) == []
    assert tally.unexpected(["no kubectl"]) == ["no Docker engine"]


def test_every_variable_that_locates_something_for_a_test_is_explained():
    reasons = read_reasons(ALLOWED_SKIPS)
    variables = {word for reason in reasons for word in reason.split() if word.startswith("PERENNIAL_")}

    assert variables
    assert variables <= set(re.findall(r"^\| `(\w+)` \|", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE))
