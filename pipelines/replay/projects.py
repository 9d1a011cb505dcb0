"""The projects of a replay: copies of the shipped one with a project file of their own."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from pipelines.replay.scenarios import Scenario
from pipelines.targets.opening import open_backend
from pipelines.targets.protocol import Backend

Changes = Mapping[str, Mapping[str, Any]]
"""Section of the project file to its keys that change."""

_QUICK: Changes = {
    "tuning": {"trials": 0},
    "training": {"families": ["plain"]},
    "split": {"newest_days": 240, "validation": 0.25, "test": 0.25},
    "release": {"strategy": "basic", "approvers": []},
}
"""Trainings take seconds and look at the newest months."""
_EXPLORATION = 0.05


def copied(shipped: Backend, folder: Path, scenario: Scenario) -> Backend:
    """Copy the project file and the features into a project of its own, with quick trainings.

    Where acting on customers changes their labels, the copy declares it, and explores a share of those decisions.
    """
    folder.mkdir(parents=True)
    root = shipped.state.root
    shutil.copytree(root / "feature_repo", folder / "feature_repo", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(shipped.state.project_file, folder / "project.yaml")
    if not scenario.persuaded:
        return changed(folder, _QUICK)
    declared = {"label": {"changed_after": [shipped.project.label.positive]}}
    return changed(folder, {**_QUICK, **declared, "monitoring": {"exploration": _EXPLORATION}})


def changed(folder: Path, changes: Changes) -> Backend:
    """Change keys of a project file, and open the project."""
    path = folder / "project.yaml"
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    for section, keys in changes.items():
        content[section] = (content.get(section) or {}) | dict(keys)
    path.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    return open_backend(project=folder)
