"""Paths inside a folder, written relative to it: what is moved or copied with the folder is found again."""

from pathlib import Path, PurePath, PurePosixPath


def kept(path: str, home: PurePath) -> str:
    """Return how to write a path: relative to ``home`` if it is below it, otherwise as it is.

    >>> home = PurePosixPath("/p/.perennial")
    >>> kept("/p/.perennial/runs/1/model", home), kept("/elsewhere/model", home)
    ('runs/1/model', '/elsewhere/model')
    """
    pure = PurePosixPath(path)
    return pure.relative_to(home).as_posix() if pure.is_absolute() and pure.is_relative_to(home) else path


def found(path: str, home: PurePath) -> str:
    """Return the absolute path of what ``kept`` wrote.

    >>> home = PurePosixPath("/moved/.perennial")
    >>> found("runs/1/model", home), found("/elsewhere/model", home)
    ('/moved/.perennial/runs/1/model', '/elsewhere/model')
    """
    return str(home / path)


def nearest(start: Path, path: str, anchor: str) -> Path | None:
    """Find what a path from another place names here: below the same ``anchor``, in the nearest folder that has it.

    Args:
        start: The file that holds the path; the folders above it are searched.
        path: An absolute path, as it was before a move.
        anchor: Name of a folder in the path.

    Returns:
        The path here; None if the path has no such folder, or none of the folders above ``start`` has what it names.
    """
    parts = PurePosixPath(path).parts
    if anchor not in parts:
        return None
    below = Path(*parts[len(parts) - 1 - parts[::-1].index(anchor) :])
    return next((folder / below for folder in start.absolute().parents if (folder / below).exists()), None)
