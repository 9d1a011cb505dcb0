"""Render infra/ with kustomize (in kubectl): golden files, or what is applied, with images and features filled in."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

import yaml

from components.shared.errors import InputError, StepFailed
from components.shared.images import image
from pipelines.images import environments

INFRA = environments.ROOT / "infra"
RENDERED = INFRA / "rendered"
_FEATURES = "features.py"


def overlays() -> list[str]:
    """Name the overlays that are shipped."""
    return sorted(path.parent.name for path in (INFRA / "overlays").glob("*/kustomization.yaml"))


def kubectl() -> str | None:
    """Return the kubectl to use: ``KUBECTL`` of the environment, else the one on PATH, else None."""
    return shutil.which(os.environ.get("KUBECTL") or "kubectl")


def render(overlay: str, references: Mapping[str, str] | None = None, features: Path | None = None) -> str:
    """Return the manifests of an overlay as one YAML text.

    Args:
        overlay: A shipped one's name, or a folder with a ``kustomization.yaml``.
        references: Name of an image's folder -> its reference, with a digest or a tag; None leaves symbolic names.
        features: The project's ``feature_repo/features.py``, for the feature server; None leaves it without features.

    Raises:
        InputError: If there is no such overlay or feature file, or no kubectl.
        StepFailed: If kustomize refuses the overlay.
    """
    folder = INFRA / "overlays" / overlay if overlay in overlays() else Path(overlay)
    if not (folder / "kustomization.yaml").is_file():
        raise InputError(f"there is no overlay {overlay!r}; known are {overlays()}, or name a folder of your own.")
    if references is None and features is None:
        return _build(folder)
    # kustomize takes relative paths only, and files from below its own folder only.
    with tempfile.TemporaryDirectory() as top:
        root = Path(top).resolve()
        wrapped: dict[str, object] = {"resources": [os.path.relpath(folder.resolve(), root)]}
        wrapped["images"] = [_named(name, reference) for name, reference in sorted((references or {}).items())]
        if features is not None:
            if not features.is_file():
                raise InputError(f"there is no {features}; expected the project's features, name its folder.")
            shutil.copyfile(features, root / _FEATURES)
            feature_repo = {"name": "feature-repo", "namespace": "perennial", "behavior": "merge", "files": [_FEATURES]}
            wrapped["configMapGenerator"] = [feature_repo]
        (root / "kustomization.yaml").write_text(yaml.safe_dump(wrapped), encoding="utf-8")
        return _build(root)


def golden() -> dict[Path, str]:
    """Return the content of every golden file as it ought to be.

    Raises:
        InputError: If there is no kubectl.
    """
    return {RENDERED / f"{overlay}.yaml": render(overlay) for overlay in overlays()}


def _build(folder: Path) -> str:
    command = kubectl()
    if command is None:
        raise InputError("there is no kubectl on PATH, which renders the manifests; install it, or name it in KUBECTL.")
    done = subprocess.run([command, "kustomize", str(folder)], capture_output=True, text=True)
    if done.returncode:
        raise StepFailed(f"kustomize refuses {folder}: {' '.join(done.stderr.split())}")
    return done.stdout


def _named(name: str, reference: str) -> dict[str, str]:
    """Write an image reference the way a kustomization does.

    >>> _named("feature_server", "example.com/team/perennial/feature-server@sha256:12ab")["digest"]
    'sha256:12ab'
    >>> _named("mlflow", "localhost:5000/perennial/mlflow:12ab")
    {'name': 'perennial/mlflow', 'newName': 'localhost:5000/perennial/mlflow', 'newTag': '12ab'}
    """
    repository, at, digest = reference.partition("@")
    if at:
        return {"name": image(name), "newName": repository, "digest": digest}
    repository, _, tag = reference.rpartition(":")
    return {"name": image(name), "newName": repository, "newTag": tag}
