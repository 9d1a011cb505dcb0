"""Files behind a project's sources: where they lie, and a hash of what they hold."""

import hashlib
import json
import time
from pathlib import Path

from components.shared.errors import InputError
from components.shared.project import Project, Source

TEXT_SUFFIXES = (".csv", ".tsv", ".txt")
# A file that was written this recently may change again without its time changing.
_SETTLED_S = 2.0


def is_text(source: Source) -> bool:
    """Is the source a CSV file?"""
    return source.path is not None and source.path.lower().endswith(TEXT_SUFFIXES)


def local_files(name: str, source: Source, root: Path) -> list[Path]:
    """List the files of a source that has a path: one CSV or parquet file, or the parquet files of a folder.

    Raises:
        InputError: If there is no such file, or it is of another kind.
    """
    path = root / str(source.path)
    if path.is_dir():
        files = sorted(file for file in path.rglob("*.parquet") if file.is_file())
        if not files:
            raise InputError(
                f"Source '{name}': the folder {source.path} holds no parquet file; expected at least one '*.parquet'. "
                "Write the table there or change 'path' in the project file."
            )
        return files
    if not path.is_file():
        raise InputError(
            f"Source '{name}': there is no file {source.path} in {root}; expected a CSV or parquet file. "
            "Put the table there or change 'path' in the project file."
        )
    if path.suffix.lower() not in (*TEXT_SUFFIXES, ".parquet"):
        raise InputError(
            f"Source '{name}': {source.path} ends with {path.suffix or 'nothing'!r}; expected "
            f"{', '.join(TEXT_SUFFIXES)} or .parquet. Convert the table or rename the file."
        )
    return [path]


def source_hash(project: Project, root: Path, cache: Path | None = None) -> str | None:
    """Hash the content of all local source files, so that a cached ingestion is never a stale one.

    Args:
        project: Whose sources.
        root: The folder that their paths are relative to.
        cache: A JSON file that remembers hashes by path, size and time of change; None reads every file.

    Returns:
        64 hex digits, or None if a source is a database, whose content nobody can see from outside.

    Raises:
        InputError: If a file is missing or of an unknown kind.
    """
    known = _read_cache(cache)
    seen = {}
    digest = hashlib.sha256()
    for name, source in sorted(project.sources.items()):
        if source.path is None:
            return None
        for file in local_files(name, source, root):
            status = file.stat()
            key = f"{file.resolve()}|{status.st_size}|{status.st_mtime_ns}"
            content = known.get(key) or _file_hash(file)
            if time.time() - status.st_mtime > _SETTLED_S:
                seen[key] = content
            digest.update(
                f"{name}\0{file.relative_to(root) if file.is_relative_to(root) else file}\0{content}\n".encode()
            )
    if cache is not None and seen != known:
        cache.parent.mkdir(parents=True, exist_ok=True)
        partial = cache.with_suffix(".partial")
        partial.write_text(json.dumps(seen, sort_keys=True, indent=1) + "\n", encoding="utf-8")
        partial.replace(cache)
    return digest.hexdigest()


def _file_hash(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _read_cache(cache: Path | None) -> dict[str, str]:
    try:
        return json.loads(cache.read_text(encoding="utf-8")) if cache else {}
    except (FileNotFoundError, ValueError):
        return {}
