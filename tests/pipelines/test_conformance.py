"""Every component is built alike, so whoever knows one knows all."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

from components.shared import telemetry
from components.shared.project import ServingSettings
from components.shared.release.kserve import objects as manifest
from pipelines.definitions import compilation
from pipelines.images import environments, locking, recipes
from pipelines.targets.laptop.processes import task_environment

ROOT = environments.ROOT
STEPS = environments.steps()
TRACKED = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.split()
PYTHON = [ROOT / name for name in TRACKED if name.endswith(".py")]
FILES = (
    "__init__.py",
    "logic.py",
    "component.py",
    "component.yaml",
    "requirements.in",
    "requirements.txt",
    "README.md",
)
# Beyond the step function's two own lines, what a task may import in its body.
GOLDEN = compilation.golden()
ALLOWED_IN_BODY = {"pathlib", "components"}


@pytest.mark.parametrize("step", STEPS)
def test_a_component_has_the_files_of_a_component_and_tests(step):
    folder = ROOT / "components" / step

    assert [name for name in FILES if not (folder / name).exists()] == []
    assert list((ROOT / "tests" / "components" / step).glob("test_*.py"))


@pytest.mark.parametrize("step", STEPS)
def test_a_component_is_thin(step):
    """At most fifteen lines, no decision, no loop, no default that logic might hold otherwise: only absent inputs."""
    tree = ast.parse((ROOT / "components" / step / "component.py").read_text())
    function = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == step)
    statements = function.body[1:]
    imported = {
        (node.module or "").split(".")[0] if isinstance(node, ast.ImportFrom) else node.names[0].name
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    }

    assert ast.get_docstring(function)
    assert statements[-1].end_lineno - statements[0].lineno + 1 <= 15
    assert not [n for n in ast.walk(function) if isinstance(n, ast.If | ast.For | ast.While | ast.Try | ast.ListComp)]
    assert [ast.unparse(default) for default in function.args.defaults if ast.unparse(default) != "None"] == []
    assert function.args.kw_defaults == []
    assert imported <= ALLOWED_IN_BODY


@pytest.mark.parametrize("step", STEPS)
def test_a_component_installs_nothing_and_names_its_image(step):
    ir = compilation.component(step)
    [executor] = ir["deploymentSpec"]["executors"].values()
    command = " ".join(executor["container"]["command"])

    assert executor["container"]["image"] == f"perennial/{step.replace('_', '-')}"
    assert "pip install" not in command


def test_imports_go_one_way():
    """components/shared <- components/<step> <- pipelines; serving takes components/shared, feature_repo nothing."""
    wrong = []
    for path in PYTHON:
        location = path.relative_to(ROOT).parts
        for module in imports(path):
            parts = module.split(".")
            if parts[0] not in ("components", "pipelines", "serving", "feature_repo") or location[0] in (
                "tests",
                "notebooks",
            ):
                continue
            allowed = {
                "components": [["components", "shared"], ["components", location[1]]],
                "pipelines": [["components"], ["pipelines"]],
                "serving": [["serving"], ["components", "shared"]],
            }.get(location[0], [])
            if not any(parts[: len(prefix)] == prefix for prefix in allowed):
                wrong.append(f"{path.relative_to(ROOT)} imports {module}")

    assert wrong == []


def test_a_step_imports_no_kfp_outside_its_component():
    wrong = [
        str(path.relative_to(ROOT))
        for path in PYTHON
        if path.relative_to(ROOT).parts[0] in ("components", "serving") and path.name != "component.py"
        if any(module.split(".")[0] == "kfp" for module in imports(path))
    ]

    assert wrong == []


def test_nothing_tinkers_with_the_import_path():
    assert [
        str(path)
        for path in PYTHON
        if re.search(r"sys\.path(\.\w+\(| *\+?=[^=]|\[)", path.read_text()) and path != Path(__file__)
    ] == []


@pytest.mark.parametrize("path", list(GOLDEN), ids=lambda path: str(path.relative_to(ROOT)))
def test_the_committed_pipelines_are_fresh(path):
    assert path.exists(), f"{path.relative_to(ROOT)} is not there; run 'make compile'"
    assert path.read_text() == GOLDEN[path], "stale; run 'make compile'"


@pytest.mark.parametrize("path", list(GOLDEN), ids=lambda path: str(path.relative_to(ROOT)))
def test_the_committed_pipelines_name_no_machine(path):
    text = path.read_text()

    assert not re.search(r"/(home|root|tmp|work|usr|Users)/", text)
    assert not re.search(r"perennial/[a-z-]+:", text)


@pytest.mark.parametrize("step", STEPS)
def test_a_component_yaml_loads_as_a_component(step):
    from kfp import components

    loaded = components.load_component_from_file(str(ROOT / "components" / step / "component.yaml"))

    assert loaded.name == step.replace("_", "-")


@pytest.mark.parametrize("name", list(locking.locks()))
def test_every_lock_is_hashed_and_names_no_index(name):
    text = locking.locks()[name].path.read_text()
    pinned = re.findall(r"^[\w.-]+(?:\[[\w,-]+\])?==", text, re.MULTILINE)

    assert pinned and text.count("--hash=sha256:") >= len(pinned)
    assert "://" not in text


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


@pytest.mark.parametrize("step", ["evaluation", "serving"])
def test_onnx_runtime_leaves_no_device_id_behind(step, tmp_path):
    """It writes one, and sends it, from its import on, unless the environment of a task says no."""
    [environment] = environments.prepare([step]).values()
    env = task_environment(environment.python, environment.source, tmp_path, {"HOME": str(tmp_path)})
    subprocess.run([str(environment.python), "-c", "import onnxruntime"], env=env, check=True)

    assert list(tmp_path.rglob("*")) == []


def test_every_way_to_start_a_process_turns_reports_home_off():
    recipe = (ROOT / recipes.DOCKERFILE).read_text()
    [container] = manifest.serving_runtime(ServingSettings(), "serving:1")["spec"]["containers"]

    assert {entry["name"]: entry["value"] for entry in container["env"]} == telemetry.OFF
    assert [f"{name}={value}" for name, value in telemetry.OFF.items() if f"{name}={value}" not in recipe] == []


@pytest.mark.parametrize("name", [*STEPS, "serving"])
def test_a_lock_installs_without_a_compiler(name):
    """A wheel that was built on this machine from C carries its bare platform tag, a published one manylinux."""
    [environment] = environments.prepare([name]).values()
    wheels = environment.python.parent.parent.glob("lib/python*/site-packages/*.dist-info/WHEEL")
    built = [
        path.parent.name for path in wheels if re.search(r"^Tag: .*-linux_x86_64$", path.read_text(), re.MULTILINE)
    ]

    assert built == []
