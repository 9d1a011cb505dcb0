"""A folder that may only be read is one sentence where something must be written, and no matter where nothing must."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from pipelines.images.environments import ROOT
from tests.end_to_end.command import PERENNIAL, perennial, write_table

# Without CAP_DAC_OVERRIDE and CAP_FOWNER (1 and 3), root is stopped by modes like anybody else. A program of its own
# drops them: what runs between fork and exec runs beside the threads of gRPC, and may be aborted there.
_BOUND_BY_MODES = """
import ctypes, os, sys
if os.geteuid() == 0:
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in (1, 3):
        assert libc.prctl(24, capability, 0, 0, 0) == 0
os.execvp(sys.argv[1], sys.argv[1:])
"""


def run(*command: object, cwd: Path = ROOT, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", _BOUND_BY_MODES, *map(str, command)],
        cwd=cwd,
        env=os.environ | env,
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("read_only")
    write_table(folder / "vans.csv", rows=120)
    perennial("init", "vans.csv", "--label", "Churn", "--entity", "customerID", "--out", "vans", cwd=folder)
    return folder / "vans"


@pytest.mark.parametrize("arguments", [("run",), ("gc", "--dry-run"), ("init", "../vans.csv", "--label", "Churn")])
def test_a_project_folder_that_may_not_be_written_is_one_sentence(project, arguments):
    project.chmod(0o555)
    cwd = project
    if arguments[0] == "init":
        cwd = project.parent / "empty"
        cwd.mkdir()
        cwd.chmod(0o555)

    done = run(PERENNIAL, *arguments, cwd=cwd)

    assert done.returncode == 2
    assert "can't be read or written: permission denied; change its rights" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_complete_cache_that_may_not_be_written_is_used(tmp_path):
    if os.getuid() != 0:
        pytest.skip("only root can become another user")
    script = """
        from pipelines.definitions import kept
        from pipelines.images import environments
        print(environments.snapshot("gate"))
        print(kept.kept("pipelines.definitions.training", "test", lambda: 1))
    """
    command = (sys.executable, "-c", textwrap.dedent(script))
    filled = run(*command, XDG_CACHE_HOME=str(tmp_path))
    assert filled.returncode == 0, filled.stderr
    (tmp_path / "perennial" / "pipelines" / "pipelines.definitions.training-test.json").unlink()
    for path in (tmp_path, *tmp_path.rglob("*")):
        os.chown(path, 65534, 65534)
        path.chmod(0o555)

    used = run(*command, XDG_CACHE_HOME=str(tmp_path))

    assert (used.returncode, used.stdout) == (0, filled.stdout), used.stderr


@pytest.mark.parametrize("verb", ["run", "status"])
def test_a_file_that_is_no_project_file_is_one_sentence(project, verb):
    done = run(PERENNIAL, verb, "--project", project / "feature_repo" / "features.py")

    assert done.returncode == 2
    assert "features.py' is a file, and not called project.yaml; expected a project's folder" in done.stderr
