"""The project bundle: project file, data schema and feature repo in one content-addressed file.

Every step receives the bundle as an input artifact, so that one image serves every project. A bundle is a zip file
with ``project.json`` (the project with all defaults), ``project.yaml`` (the original file) and ``feature_repo/``.
"""

import hashlib
import io
import json
import zipfile
from pathlib import Path

from components.shared import files
from components.shared.project import Project

FEATURE_REPO = "feature_repo/"
"""Prefix of the feature repo's members."""
# A zip file stores the local time of each member; a constant makes equal content produce equal bytes.
_EPOCH = (1980, 1, 1, 0, 0, 0)
_IGNORED = {"__pycache__", "data", ".ipynb_checkpoints"}


def write(project: Project, project_file: Path, folder: Path) -> Path:
    """Write the bundle of a parsed project file into ``folder``, named by its content.

    Args:
        project: The parsed project file.
        project_file: The file itself; ``feature_repo/`` is expected in its folder.
        folder: Folder of the bundles; created if absent.

    Returns:
        ``folder/project-<first 16 hex digits of SHA-256>.zip``; the same path for the same content.
    """
    members = {
        "project.json": (json.dumps(project.model_dump(mode="json"), sort_keys=True, indent=1) + "\n").encode(),
        "project.yaml": project_file.read_bytes(),
    }
    repo = project_file.parent / "feature_repo"
    for path in sorted(repo.rglob("*")):
        if path.is_file() and not _IGNORED & set(path.relative_to(repo).parts):
            members[f"{FEATURE_REPO}{path.relative_to(repo).as_posix()}"] = path.read_bytes()
    digest = hashlib.sha256()
    for name in sorted(members):
        digest.update(f"{name}\0{len(members[name])}\0".encode() + members[name])
    target = folder / f"project-{digest.hexdigest()[:16]}.zip"
    if target.exists():
        return target
    with files.replacing(target) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(members):
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), members[name])
    return target


def project(path: str) -> Project:
    """Read the project from a bundle."""
    with zipfile.ZipFile(path) as archive:
        return Project.model_validate_json(archive.read("project.json"))


def name(content: bytes) -> str | None:
    """Return the name of the project in a bundle's bytes; None if they are no bundle."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return str(json.loads(archive.read("project.json"))["name"])
    except (zipfile.BadZipFile, KeyError, ValueError):
        return None


def extract(path: str, folder: Path) -> Path:
    """Unpack a bundle into ``folder`` and return its ``feature_repo``."""
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder)
    return folder / "feature_repo"
