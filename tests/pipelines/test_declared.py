"""What our code imports is declared where its lock comes from; a package that only others ask for may leave any day."""

import ast
import configparser
import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from pipelines.images import environments, locking, recipes

ROOT = environments.ROOT
OURS = {"components", "pipelines", "serving", "tests"}
DISTRIBUTIONS = {
    "OpenSSL": "pyopenssl",
    "attr": "attrs",
    "cyclonedx": "cyclonedx-python-lib",
    "dateutil": "python-dateutil",
    "google.api_core": "google-api-core",
    "google.auth": "google-auth",
    "google.cloud.aiplatform": "google-cloud-aiplatform",
    "google.cloud.aiplatform_v1": "google-cloud-aiplatform",
    "google.cloud.aiplatform_v1beta1": "google-cloud-aiplatform",
    "google.longrunning": "googleapis-common-protos",
    "google.oauth2": "google-auth",
    "google.rpc": "googleapis-common-protos",
    "google.protobuf": "protobuf",
    "grpc": "grpcio",
    "hcl2": "python-hcl2",
    "mlflow": "mlflow-skinny",
    "openlineage.client": "openlineage-python",
    "prometheus_client": "prometheus-client",
    "sklearn": "scikit-learn",
    "tensorflow": "tensorflow-cpu",
    "yaml": "pyyaml",
}
"""Import name to distribution, where they differ by more than an underscore."""


def distribution(module: str) -> str:
    """Return the distribution that provides a module.

    >>> distribution("google.protobuf.text_format"), distribution("tfx_bsl.arrow")
    ('protobuf', 'tfx-bsl')
    """
    parts = module.split(".")
    prefixes = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((DISTRIBUTIONS[prefix] for prefix in prefixes if prefix in DISTRIBUTIONS), parts[0].replace("_", "-"))


def imported(paths: Iterable[Path]) -> set[str]:
    """Return the distributions that files import, anywhere in them."""
    modules = set[str]()
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                modules |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                modules |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {distribution(module) for module in modules if module.split(".")[0] not in OURS}


def names(requirements: str) -> set[str]:
    """Return the distributions that lines of requirements name, written alike."""
    return {name.lower().replace("_", "-") for name in re.findall(r"^\s*([A-Za-z][\w.-]*)", requirements, re.MULTILINE)}


@pytest.mark.parametrize("name", [*recipes.steps(), *recipes.variants(), "serving", "collector"])
def test_a_step_declares_the_locked_packages_that_it_imports(name):
    recipe = recipes.recipe(name)
    files = [ROOT / path for path in recipe.source if path.suffix == ".py"]
    locked = names((ROOT / recipe.lock).read_text())
    declared = names((ROOT / recipe.lock).with_suffix(".in").read_text())

    assert sorted(imported(files) & locked - declared) == []


def test_the_command_declares_the_locked_packages_that_it_imports():
    package = configparser.ConfigParser()
    package.read(ROOT / "setup.cfg")
    files = [path for path in (ROOT / "pipelines").rglob("*.py") if "bench" not in path.parts]
    locked = names(locking.locks()["command"].path.read_text())
    declared = names(package["options"]["install_requires"])

    assert sorted(imported(files) & locked - declared) == []


def test_the_command_runs_without_the_tools_of_its_checks():
    command, checks = (names(locking.locks()[name].path.read_text()) for name in ("command", "checks"))
    files = [path for path in (ROOT / "pipelines").rglob("*.py") if "bench" not in path.parts]

    assert {"pytest", "mypy", "ruff", "scikit-learn"} <= checks - command
    assert sorted(imported(files) & (checks - command)) == []


def test_the_checks_run_with_the_versions_that_the_command_runs_with():
    command, checks = (
        set(re.findall(r"^[\w.-]+==[^\s;]+", locking.locks()[name].path.read_text(), re.MULTILINE))
        for name in ("command", "checks")
    )

    assert sorted(command - checks) == []


@pytest.mark.parametrize("step", ["data_validation", "feature_retrieval", "skew_audit", "materialization"])
def test_what_overrides_drop_is_not_locked(step):
    lock = locking.locks()[step]
    config = (ROOT / "components" / "uv.toml").read_text().replace('"', "\n")
    overrides = config + (lock.overrides.read_text() if lock.overrides else "")
    dropped = names("\n".join(re.findall(r"^.*; python_version < '3'$", overrides, re.MULTILINE)))

    assert "mypy" in dropped and not dropped & names(lock.path.read_text())
    assert lock.command().count("--override") == bool(lock.overrides)
