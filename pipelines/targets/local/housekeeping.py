"""Remove what no release and no lineage needs: runs that registered nothing, and what only they hold."""

import shutil
import time
from collections.abc import Iterable
from pathlib import Path

from components.shared.documents.release import RegisteredVersion
from components.shared.documents.run_record import RunRecord
from components.shared.errors import InputError
from pipelines import runs
from pipelines.images import environments
from pipelines.runs import Run
from pipelines.targets.protocol import Collected
from pipelines.targets.state import State


def collect(state: State, versions: Iterable[str], keep: int, dry_run: bool) -> Collected:
    """Remove runs, bundles, studies and cache entries of a project that nothing needs any more.

    A run is needed if it registered a version that the registry still lists, or is one of the newest ``keep``. A task's
    outputs are needed if a needed run used them, also when another run had made them (a cache hit).

    Args:
        state: The project's state; the caller holds its lock.
        versions: Versions that the registry lists.
        keep: Newest runs to keep, whatever they ended with.
        dry_run: Only say what would go.
    """
    records = [_record(folder) for folder in sorted(state.runs.glob("*")) if folder.is_dir()]
    needed_versions = set(versions)
    newest = {record.id for record in records[len(records) - keep :]} if keep else set()
    needed = [record for record in records if record.id in newest or _version(record) in needed_versions]
    kept_ids = {record.id for record in needed}
    used = {Path(path).resolve() for record in needed for path in record.artifacts.values()}
    doomed: list[Path] = []
    for record in records:
        folder = state.runs / record.id
        tasks = [path for path in folder.glob("artifacts/*/*") if path.is_dir()]
        unused = [task for task in tasks if not any(task in path.parents for path in used)]
        if record.id not in kept_ids and len(unused) == len(tasks):
            doomed.append(folder)
        elif record.id not in kept_ids:
            doomed += unused
    bundles = {record.outputs.get("bundle") for record in needed}
    doomed += [path for path in state.bundles.glob("*.zip") if str(path) not in bundles]
    oldest = min(
        (path.stat().st_mtime for path in (state.runs / i / RunRecord.FILE for i in kept_ids)), default=time.time()
    )
    studies = state.studies.glob("*") if state.studies else ()
    doomed += [path for path in studies if path.stat().st_mtime < oldest]
    return _remove(doomed + _dead_entries(state, doomed), state.folder, dry_run)


def collect_cache(unused_days: float, dry_run: bool, now: float) -> Collected:
    """Remove virtualenvs and source snapshots of the user's cache that nothing has used for a while."""
    cache = environments.cache_folder()
    limit = now - unused_days * 86_400
    entries = [*cache.glob("virtualenvs/*"), *cache.glob("sources/*")]
    return _remove([p for p in entries if p.is_dir() and environments.last_used(p) < limit], cache, dry_run)


def _record(folder: Path) -> Run:
    """Read a run's record; a run whose record cannot be read needs nothing."""
    try:
        return runs.load(folder / RunRecord.FILE)
    except (FileNotFoundError, InputError):
        return Run(folder.name, "", "", folder, "", [])


def _version(run: Run) -> str | None:
    """Return the version that a run registered; a repeated run on unchanged data and code registered none."""
    if run.repeats is not None:
        return None
    release = run.artifacts.get("registration.release")
    try:
        registered = RegisteredVersion.read(Path(release) / RegisteredVersion.FILE) if release else None
    except FileNotFoundError:
        return None
    return None if registered is None or registered.unchanged else registered.version


def _dead_entries(state: State, doomed: list[Path]) -> list[Path]:
    """Find kfp's cache entries that name what goes; kfp would take them for misses, but never remove them."""
    gone = [str(path) for path in doomed]
    entries = []
    for entry in state.cache.glob("*.json"):
        text = entry.read_text(encoding="utf-8")
        if any(path in text for path in gone):
            entries.append(entry)
    return entries


def _remove(paths: list[Path], root: Path, dry_run: bool) -> Collected:
    freed = sum(_size(path) for path in paths)
    for path in paths:
        if not dry_run:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    return Collected(tuple(str(path.relative_to(root)) for path in paths), freed)


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.lstat().st_size for file in files if file.is_file())
