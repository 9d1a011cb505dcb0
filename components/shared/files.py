"""Files that are replaced whole, JSON and digests: equal content is equal bytes, whichever step writes it."""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname


def write_json(path: str | Path, value: Any) -> None:
    """Write ``value`` with sorted keys and a newline at the end, atomically; NaN is refused."""
    write_text(path, json.dumps(value, sort_keys=True, indent=1, allow_nan=False) + "\n")


def write_text(path: str | Path, text: str) -> None:
    """Replace a text file atomically, see ``replacing``."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Replace a file atomically: a reader, or a machine that loses power, sees the old content or the new.

    The folder is created if absent. If the block raises, the old file stays, and what was written is deleted.

    Args:
        path: The file.

    Yields:
        The path to write to: in the same folder, with a leading dot and the suffix ``.partial``.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        with partial.open("rb") as written:
            os.fsync(written.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def read_json(path: str | Path) -> Any:
    """Read what ``write_json`` wrote."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def sha256(path: Path) -> str:
    """Hash one file, or a folder by the sorted names and contents of its files."""
    if path.is_file():
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    digest = hashlib.sha256()
    for file in sorted(p for p in path.rglob("*") if p.is_file()):
        digest.update(f"{file.relative_to(path).as_posix()}\0{sha256(file)}\n".encode())
    return digest.hexdigest()


def digest(value: Any) -> str:
    """Hash a JSON value by its canonical text."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def from_uri(uri: str) -> Path:
    """Return the path that a ``file://`` URI names; blanks and the like are percent-encoded in one.

    >>> from_uri("file:///a%20b/model").as_posix()
    '/a b/model'
    """
    return Path(url2pathname(urlsplit(uri).path))
