"""Which files of the repository a program needs at run time: the modules that it imports, and the data next to them.

The closure is computed from the source text, so nothing is imported. These count as imports:

1. ``import`` and ``from`` statements anywhere in a module, also inside functions; ``from package import name`` names a
   module where ``package/name`` is one.
2. String literals that name a module in full (``"components.tuning.objective"``), which is how modules are preloaded,
   or imported by name.
3. The ``__init__`` of every package above an imported module.

Imports below ``if TYPE_CHECKING:`` never happen at run time and don't count.
"""

import ast
import functools
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

# Files that a module may read from its own folder: templates, styles, queries and tables.
_DATA_SUFFIXES = frozenset({".j2", ".css", ".sql", ".json"})
_QUOTED_NAME = re.compile(r"""(["'])([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+)\1""")
# The attributes of a statement that hold other statements; those of 'except' and 'case' have a body of their own.
_BLOCKS = ("body", "orelse", "finalbody", "handlers", "cases")


def closure(modules: Iterable[str], root: Path) -> list[Path]:
    """Return the files below ``root`` that a program needs, sorted.

    Args:
        modules: Dotted names of the modules that the program starts from.
        root: The folder that is on the import path.

    Raises:
        FileNotFoundError: If one of ``modules`` doesn't exist below ``root``.
    """
    pending = list(modules)
    if missing := [module for module in pending if _file(module, root) is None]:
        raise FileNotFoundError(f"the modules {missing} don't exist below {root}; expected a/b.py for a module a.b.")
    files, visited = set[Path](), set[str]()
    while pending:
        module = pending.pop()
        # Importing a.b.c imports a and a.b first.
        for name in _with_parents(module):
            if name in visited:
                continue
            visited.add(name)
            path = _file(name, root)
            if path is None:
                continue
            files.add(path)
            package = name if path.name == "__init__.py" else name.rpartition(".")[0]
            pending += _imported(path.read_text(encoding="utf-8"), package)
    folders = {file.parent for file in files}
    return sorted(files | {data for folder in folders for data in folder.iterdir() if data.suffix in _DATA_SUFFIXES})


def imported_by_functions(file: Path, root: Path) -> list[str]:
    """Return the modules below ``root`` that the functions of a file import, sorted.

    They are what a KFP component needs: the source of its function travels in the pipeline, the file does not.
    """
    return imported_by_code(file.read_text(encoding="utf-8"), root)


def imported_by_code(source: str, root: Path) -> list[str]:
    """Return what ``imported_by_functions`` returns, of the text of a file."""
    functions = [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]
    return sorted(name for name in _named(functions, "") if _file(name, root))


@functools.cache
def _imported(source: str, package: str) -> frozenset[str]:
    """Return every dotted name that a module's source may import, whether or not it names a module.

    Args:
        source: The text of the module.
        package: The package that relative imports start from.

    >>> sorted(_imported("from a.b import c\\nif TYPE_CHECKING:\\n    import d", ""))
    ['a.b', 'a.b.c']
    >>> sorted(_imported("preload(['a.b'])", ""))
    ['a.b']
    """
    return frozenset(match[2] for match in _QUOTED_NAME.finditer(source)) | _named(ast.parse(source).body, package)


def _named(block: Iterable[ast.AST], package: str) -> set[str]:
    """Return every dotted name in the import statements of a block."""
    names = set[str]()
    for statement in _executed(block):
        if isinstance(statement, ast.Import):
            names |= {alias.name for alias in statement.names}
        elif isinstance(statement, ast.ImportFrom):
            base = _absolute(statement, package)
            names |= {base, *(f"{base}.{alias.name}" for alias in statement.names)}
    return names


def _executed(block: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """Walk the statements of a block and of those inside them, but leave out what only a type checker looks at."""
    for statement in block:
        yield statement
        if isinstance(statement, ast.If) and _is_type_checking(statement.test):
            yield from _executed(statement.orelse)
            continue
        for name in _BLOCKS:
            yield from _executed(getattr(statement, name, ()))


def _is_type_checking(test: ast.expr) -> bool:
    name = test.attr if isinstance(test, ast.Attribute) else test.id if isinstance(test, ast.Name) else ""
    return name == "TYPE_CHECKING"


def _absolute(node: ast.ImportFrom, package: str) -> str:
    """Return the module that a ``from`` statement names.

    >>> _absolute(ast.parse("from ..inputs import rows").body[0], "components.shared.learning")
    'components.shared.inputs'
    """
    if not node.level:
        return node.module or ""
    parents = package.split(".")
    return ".".join([*parents[: len(parents) - node.level + 1], *filter(None, [node.module])])


def _with_parents(module: str) -> Iterator[str]:
    """Yield the packages above a module, outermost first, then the module.

    >>> list(_with_parents("a.b.c"))
    ['a', 'a.b', 'a.b.c']
    """
    parts = module.split(".")
    for count in range(1, len(parts) + 1):
        yield ".".join(parts[:count])


def _file(module: str, root: Path) -> Path | None:
    """Return the file of a module or package; None for what isn't ours, or is no module."""
    path = os.path.join(root, *module.split("."))
    return next(
        (Path(file) for file in (os.path.join(path, "__init__.py"), f"{path}.py") if os.path.isfile(file)), None
    )
