"""Imports point downwards through the layers, and no module imports itself through others."""

import ast
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.images.environments import ROOT

# From low to high; the longest prefix that fits counts. Layers of one line may import each other.
LAYERS = (
    ("components.shared",),
    ("components",),
    ("pipelines.images", "pipelines.simulator"),
    ("pipelines.project",),
    ("pipelines.definitions", "pipelines.runs", "pipelines.scoring"),
    ("pipelines.observability", "pipelines.audit"),
    ("pipelines.targets",),
    ("pipelines.traffic", "pipelines.edge"),
    ("pipelines.command.terminal", "pipelines.command.view"),
    ("pipelines.api",),
    ("pipelines.replay",),
    ("pipelines.command",),
    ("pipelines.manual",),
    ("pipelines.bench",),
)
RANKS = {prefix: rank for rank, prefixes in enumerate(LAYERS) for prefix in prefixes}
TRACKED = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True).stdout.split()


def name_of(path: str) -> str:
    return ".".join(Path(path).with_suffix("").parts).removesuffix(".__init__")


MODULES = {name_of(path): ROOT / path for path in TRACKED if path.startswith(("components/", "pipelines/", "serving/"))}


def imported(name: str) -> Iterator[str]:
    """Name the project's modules that a module imports, also inside its functions, but not for its types alone."""
    path = MODULES[name]
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    guards = [node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)]
    for_types = {id(inner) for guard in guards for node in guard.body for inner in ast.walk(node)}
    for node in (node for node in ast.walk(tree) if id(node) not in for_types):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*parents, *filter(None, [node.module])])
            for alias in node.names:
                target = f"{base}.{alias.name}" if f"{base}.{alias.name}" in MODULES else base
                if target in MODULES and target != name:
                    yield target


GRAPH = {name: sorted(set(imported(name))) for name in MODULES}


def rank(name: str) -> int | None:
    fitting = [prefix for prefix in RANKS if name == prefix or name.startswith(f"{prefix}.")]
    return RANKS[max(fitting, key=len)] if fitting else None


def cycles(graph: dict[str, list[str]]) -> list[list[str]]:
    """Find the groups of modules that reach each other (Tarjan's strongly connected components)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    groups: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in graph[node]:
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            at = stack.index(node)
            groups.append(sorted(stack[at:]))
            del stack[at:]

    for node in graph:
        if node not in index:
            visit(node)
    return [group for group in groups if len(group) > 1]


def test_every_module_has_a_layer():
    without = [name for name in MODULES if rank(name) is None and name.split(".")[0] != "serving"]

    assert without == ["pipelines"]


def test_no_module_imports_a_higher_layer():
    wrong = [
        f"{name} imports {other}"
        for name, others in GRAPH.items()
        for other in others
        if rank(name) is not None and rank(other) is not None and rank(other) > rank(name)
    ]

    assert wrong == []


def test_there_is_no_import_cycle():
    assert cycles(GRAPH) == []


def test_only_the_function_that_opens_a_target_knows_the_kinds():
    """Elsewhere a target is its backend: no decision depends on the class of a target's settings."""
    kinds = {
        "Laptop", "Docker", "Kfp", "Vertex", "LaptopBackend", "DockerBackend", "KfpBackend", "VertexBackend",
    }  # fmt: skip
    wrong = [
        f"{name}:{node.lineno}"
        for name, path in MODULES.items()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "isinstance"
        if kinds & {leaf.id for leaf in ast.walk(node.args[1]) if isinstance(leaf, ast.Name)}
    ]

    assert wrong == []


def test_only_the_command_writes_to_the_screen():
    wrong = [
        f"{name}:{node.lineno}"
        for name, path in MODULES.items()
        if name.startswith(("pipelines.targets", "pipelines.runs", "pipelines.definitions"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if (isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print")
        or (isinstance(node, ast.ImportFrom) and (node.module or "").startswith(("rich", "click")))
        or (isinstance(node, ast.Import) and any(alias.name in ("rich", "click") for alias in node.names))
    ]

    assert wrong == []


@pytest.mark.parametrize(
    ("graph", "found"),
    [({"a": ["b"], "b": ["c"], "c": ["a"], "d": ["a"]}, [["a", "b", "c"]]), ({"a": ["b"], "b": []}, [])],
)
def test_a_cycle_is_found_where_there_is_one(graph, found):
    assert cycles(graph) == found
