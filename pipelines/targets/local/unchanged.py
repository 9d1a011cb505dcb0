"""Recognise a run that would only repeat an earlier one: there is nothing to do then, and the earlier results count.

A run repeats an earlier one when all of this holds:

1. Its key is the same: pipeline, images, project, content of the sources, seed and addresses.
2. The earlier run came to a verdict: it released a version, or its candidate was rejected.
3. The registry is as that run left it: the same champion and the same last accepted data.
4. What the run wrote still exists.
5. If it released a version, that version is what the endpoint answers with.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from components.shared import files
from components.shared.documents.release import RegisteredVersion
from components.shared.errors import PerennialError
from components.shared.registry_state import RegistryState
from components.shared.release import endpoint_folder, routing
from components.shared.release.routing import Routing
from pipelines import runs
from pipelines.runs import Run
from pipelines.targets import samples
from pipelines.targets.local import endpoint

# What may differ between two runs that give the same results.
_NOT_IN_KEY = {"registry_state"}
_CODE_NOT_IN_KEY = {"commit", "dirty"}


def key(ir: Mapping[str, Any], arguments: Mapping[str, Any], root: Path) -> str:
    """Name a run by all that decides its results, except what the registry holds.

    The commit is not part of it: the references in the IR change with whatever an edit changes in a step.

    Args:
        ir: The compiled pipeline with the image references filled in.
        arguments: The pipeline's arguments.
        root: The project's folder, which is not part of the name: a moved project is the same one.
    """
    arguments = _placeless(dict(arguments), root)
    decisive = {name: value for name, value in arguments.items() if name not in _NOT_IN_KEY}
    code = {name: value for name, value in (arguments.get("code") or {}).items() if name not in _CODE_NOT_IN_KEY}
    return files.digest([dict(ir), decisive | {"code": code}])


def _placeless(value: Any, root: Path) -> Any:
    """Replace the project's folder in all texts, of which an address may hold it."""
    if isinstance(value, dict):
        return {name: _placeless(inner, root) for name, inner in value.items()}
    if isinstance(value, list):
        return [_placeless(inner, root) for inner in value]
    if not isinstance(value, str):
        return value
    return "{root}" if value == str(root) else value.replace(f"{root}/", "{root}/")


def earlier(records: Iterable[Run], run_key: str, registry: RegistryState, folder: Path) -> Run | None:
    """Return the run that another one with this key would only repeat, or None.

    Args:
        records: The runs of the project, the newest first.
        run_key: See ``key``.
        registry: What the registry holds now.
        folder: The endpoint's folder.
    """
    same = (run for run in records if run.run_key == run_key and run.exit_code in (runs.OK, runs.REJECTED))
    run = next(same, None)
    if run is None or run.registry_state != registry.digest:
        return None
    if not all(Path(path).exists() for path in run.artifacts.values()):
        return None
    return run if run.exit_code == runs.REJECTED or _answers(run, registry, folder) else None


def repeat(run: Run, original: Run) -> None:
    """Close the record of a run with the results of the run that it repeats."""
    run.repeats = original.repeats or original.id
    run.run_key, run.registry_state = original.run_key, original.registry_state
    run.seed, run.commit, run.contents = original.seed, original.commit, dict(original.contents)
    run.outputs, run.artifacts = dict(original.outputs), dict(original.artifacts)
    states = {step.name: step.state for step in original.steps}
    for step in run.steps:
        step.state, step.seconds = ("cached", 0.0) if states.get(step.name) in ("done", "cached") else ("skipped", None)
    assert original.exit_code is not None
    runs.end(run, original.exit_code, original.reason)


def _answers(run: Run, registry: RegistryState, folder: Path) -> bool:
    """Say whether the champion is what a run released, and nothing but that answers at the endpoint."""
    champion = registry.champion
    try:
        released = RegisteredVersion.read(Path(run.artifacts["registration.release"]))
        # A release under way has a share of its own here, even if it is zero.
        if champion != released.version or routing.read(folder) != Routing.to(champion):
            return False
        installed = RegisteredVersion.read(endpoint_folder.release_folder(folder, champion))
        # Not the manifest: a candidate that is the champion already may have been packed again, on another target.
        if (installed.storage_uri, installed.fingerprint) != (released.storage_uri, released.fingerprint):
            return False
        return _answered(run, champion, folder)
    except (KeyError, FileNotFoundError, PerennialError):
        return False


def _answered(run: Run, version: str, folder: Path) -> bool:
    """Ask a server that is running; without one, the folder decides what the next server answers with."""
    if endpoint.find(folder) is None:
        return True
    rows = samples.read(Path(run.artifacts["training.model"]))
    return bool(endpoint.ask(folder, rows[:1], is_probe=True)["model_version"] == version)
