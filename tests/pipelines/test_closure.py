"""A step's image holds what the step needs at run time, and changes only when that changes."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from pipelines.images import environments, recipes
from pipelines.images.closure import closure, imported_by_functions
from pipelines.targets.laptop.processes import task_environment

ROOT = recipes.ROOT
PROGRAMS = [*recipes.steps(), *recipes.variants(), "serving", "collector"]
LEARNING = sorted((ROOT / "components" / "shared" / "learning").glob("*.py"))
# Prints the files of ours that were loaded.
_IMPORT_ALL = """
import importlib, json, sys
for module in json.loads(sys.argv[1]):
    importlib.import_module(module)
ours = [m.__file__ for name, m in sys.modules.items() if name.split(".")[0] in ("components", "serving", "pipelines")]
print(json.dumps(sorted(ours)))
"""


def tree(root: Path, **files: str) -> Path:
    """Write files below a folder; a name has two underscores for a slash, and means a Python file."""
    for name, text in files.items():
        path = root / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        for folder in path.relative_to(root).parents:
            (root / folder / "__init__.py").touch()
    return root


def names(files: list[Path], root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in files if path.name != "__init__.py"}


@pytest.mark.parametrize(
    "statement",
    [
        "import a.needed",
        "import a.needed as other",
        "from a import needed",
        "from a.needed import value",
        "from a import (\n    needed,\n)",
        "from . import needed",
        "from .needed import value",
        "def later():\n    from a import needed",
        "class Late:\n    def later(self):\n        import a.needed",
        "async def later():\n    async with x:\n        from a import needed",
        "try:\n    pass\nexcept ValueError:\n    from a import needed",
        "try:\n    pass\nfinally:\n    from a import needed",
        "if x:\n    pass\nelse:\n    from a import needed",
        "for _ in x:\n    pass\nelse:\n    from a import needed",
        "match x:\n    case 1:\n        from a import needed",
        "if TYPE_CHECKING:\n    pass\nelse:\n    from a import needed",
        "context.set_forkserver_preload(['a.needed'])",
        "importlib.import_module('a.needed')",
    ],
)
def test_every_way_to_import_a_module_brings_its_file(tmp_path, statement):
    root = tree(tmp_path, a__start=statement, a__needed="", a__other="")

    assert names(closure(["a.start"], root), root) == {"a/start.py", "a/needed.py"}


@pytest.mark.parametrize(
    "statement",
    [
        "if TYPE_CHECKING:\n    from a import other",
        "if typing.TYPE_CHECKING:\n    import a.other",
        "import json, numpy.linalg",
        "'''The module a.other does this.'''",
        "from a.missing import other",
    ],
)
def test_what_is_not_imported_at_run_time_is_left_out(tmp_path, statement):
    root = tree(tmp_path, a__start=statement, a__other="")

    assert names(closure(["a.start"], root), root) == {"a/start.py"}


def test_imports_are_followed_in_circles_through_packages_and_past_folders_without_an_init(tmp_path):
    root = tree(tmp_path, a__start="import b.c.d", b__c__d="from e import f", e__f="import a.start", b__c__x="", g="")
    (root / "b" / "__init__.py").write_text("import g")
    (root / "e" / "__init__.py").unlink()

    assert closure(["a.start"], root) == sorted(
        root / path
        for path in ("a/__init__.py", "a/start.py", "b/__init__.py", "b/c/__init__.py", "b/c/d.py", "e/f.py", "g.py")
    )


def test_templates_beside_an_imported_module_come_along_and_papers_do_not(tmp_path):
    root = tree(tmp_path, a__start="", b__c="")
    for name in ("a/page.html.j2", "a/style.css", "a/query.sql", "a/table.json", "a/README.md", "a/a.txt", "b/page.j2"):
        (root / name).touch()

    assert names(closure(["a.start"], root), root) == {
        "a/start.py", "a/page.html.j2", "a/style.css", "a/query.sql", "a/table.json",
    }  # fmt: skip


def test_a_component_needs_what_its_function_imports_and_not_what_its_file_does(tmp_path):
    step_file = "from a import decorator\n\n@decorator.step\ndef step(x):\n    from a import logic, missing\n"
    root = tree(tmp_path, a__step=step_file, a__logic="", a__decorator="")

    assert imported_by_functions(root / "a" / "step.py", root) == ["a", "a.logic"]


def test_a_start_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"the modules \['a\.b'\] don't exist below .*; expected a/b\.py"):
        closure(["a.b"], tmp_path)


@pytest.mark.parametrize("name", PROGRAMS)
def test_no_module_of_a_step_lies_outside_its_closure(name):
    """One that does is dead code, or imported in a way that the closure doesn't see."""
    recipe = recipes.recipe(name)
    servers = [recipes.recipe(other) for other in ("serving", "collector")]
    inner = [ROOT / each.folder for each in servers if recipe.folder in each.folder.parents]
    own = {
        path.relative_to(ROOT)
        for path in (ROOT / recipe.folder).rglob("*.py")
        if path.name != "component.py" and not any(path.is_relative_to(folder) for folder in inner)
    }

    assert own - set(recipe.source) == set()


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_module_of_a_snapshot_imports_in_it_and_nothing_comes_from_elsewhere(name, tmp_path):
    """In the step's own virtualenv, with the environment of a task; what resolves need not import."""
    [environment] = environments.prepare([name]).values()
    files = [path for path in recipes.recipe(name).source if path.suffix == ".py" and path.name != "__main__.py"]
    modules = [".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in files]
    env = task_environment(environment.python, environment.source, tmp_path, {"HOME": str(tmp_path)})
    done = subprocess.run(
        [
            str(environment.python),
            "-c",
            _IMPORT_ALL,
            json.dumps([*modules, *(["kfp"] if name not in ("serving", "collector") else [])]),
        ],
        env=env | {"_KFP_RUNTIME": "true"},
        cwd="/",
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    imported = json.loads(done.stdout.splitlines()[-1])
    assert {environment.source / path for path in files} == {Path(file) for file in imported}


def changed_by(edited: str, root: Path) -> set[str]:
    """Return the steps, and ``serving``, whose references change when a comment is added to a file."""
    for folder in ("components", "serving", "infra"):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
    before = {name: recipes.reference(name, root=root) for name in PROGRAMS}
    path = root / edited
    path.write_text(path.read_text() + "\n# One more line.\n")
    return {name for name in PROGRAMS if recipes.reference(name, root=root) != before[name]}


@pytest.mark.parametrize("module", LEARNING, ids=lambda path: path.stem)
def test_an_edited_module_of_learning_changes_at_most_the_steps_that_learn(module, tmp_path):
    changed = changed_by(module.relative_to(ROOT).as_posix(), tmp_path)

    assert changed and changed <= {"tuning", "training", "tfx_training", "cadence"}


@pytest.mark.parametrize(
    ("edited", "steps"),
    [
        ("components/shared/learning/fitting.py", {"tuning", "training", "tfx_training"}),
        ("components/shared/learning/adam.py", {"tuning", "training", "tfx_training"}),
        ("components/gate/rules.py", {"gate"}),
        ("components/registration/card.md.j2", {"registration"}),
        ("components/evaluation/probe.py", {"evaluation"}),
        ("serving/rest.py", {"serving"}),
        ("components/shared/errors.py", set(PROGRAMS)),
        ("components/gate/component.py", set()),
    ],
)
def test_an_edited_file_changes_exactly_the_references_of_what_uses_it(edited, steps, tmp_path):
    assert changed_by(edited, tmp_path) == steps
