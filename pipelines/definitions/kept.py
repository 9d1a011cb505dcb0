"""Keep what follows from the source of a pipeline, because kfp, which derives it, takes seconds to import."""

import contextlib
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from components.shared import files
from pipelines.images import environments
from pipelines.images.closure import closure


def kept(module: str | None, what: str, derive: Callable[[], Any]) -> Any:
    """Return a JSON value that follows from a pipeline's source, from the user's cache or derived now.

    It is derived again when a file changes that the pipeline's module imports, or another version of kfp is installed.

    Args:
        module: The module of the pipeline's function; None derives the value each time.
        what: What the value is; part of a file's name.
        derive: Returns the value.
    """
    if module is None:
        return derive()
    key, path = _key(module), environments.cache_folder() / "pipelines" / f"{module}-{what}.json"
    try:
        content = files.read_json(path)
        if content["key"] == key:
            return content["value"]
    except (OSError, ValueError, KeyError, TypeError):
        # Absent, of an older layout or broken: deriving it again replaces the file.
        pass
    value = derive()
    # A read-only cache costs time, nothing else.
    with contextlib.suppress(OSError):
        files.write_json(path, {"key": key, "value": value})
    return value


def _key(module: str, root: Path = environments.ROOT) -> str:
    sources = {path.relative_to(root).as_posix(): files.sha256(path) for path in closure([module], root)}
    return files.digest([version("kfp"), sources])
