"""Feast's own tests of an offline store pass with ours, where PERENNIAL_FEAST names a checkout of Feast."""

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.components.feature_retrieval import feast_suite

ROOT = Path(__file__).parents[3]
FILES = (
    "universal_historical_retrieval",
    "universal_types",
    "universal_materialization",
    "offline_write",
    "push_features_to_offline_store",
    "persist",
    "feature_logging",
)
TIMEOUT_S = 900


@pytest.fixture(scope="module")
def python_sdk() -> Path:
    """Return the folder with Feast's Python tests."""
    folder = Path(os.environ.get("PERENNIAL_FEAST", "")) / "sdk" / "python"
    if not (folder / "tests" / "universal").is_dir():
        pytest.skip("PERENNIAL_FEAST names no checkout of Feast")
    return folder


def test_every_test_of_feast_passes_with_our_store(python_sdk: Path, tmp_path: Path):
    # Both checkouts have a package "tests"; Feast's comes first.
    path = os.pathsep.join(map(str, (python_sdk, Path(__file__).parent, ROOT)))
    environment = os.environ | {"PYTHONPATH": path, "FULL_REPO_CONFIGS_MODULE": feast_suite.__name__.split(".")[-1]}
    environment |= {"FEAST_IS_LOCAL_TEST": "True", "IS_TEST": "True", "TMPDIR": str(tmp_path)}
    files = [f"tests/integration/offline_store/test_{name}.py" for name in FILES]
    plugins = [word for name in ("feast_suite", "tests.conftest") for word in ("-p", name)]
    results = tmp_path / "results.xml"
    # Their configuration and the conftest.py of all integration tests need plugins and libraries of other stores.
    options = ["-c", os.devnull, "--rootdir", ".", "--noconftest", "-p", "no:cacheprovider", "--integration", "-q"]

    ended = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *plugins, f"--junitxml={results}", *files],
        cwd=python_sdk,
        env=environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )

    assert ended.returncode == 0, ended.stdout[-20_000:] + ended.stderr[-2_000:]
    ran = [case for case in ElementTree.parse(results).iter("testcase") if case.find("skipped") is None]
    assert sum("[" in str(case.get("name")) and "Asof" in str(case.get("name")) for case in ran) >= 40
