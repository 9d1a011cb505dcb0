"""Read what the registry holds before and after a run, from the command's side."""

import logging
import threading

from components.shared import registry, registry_state
from components.shared.errors import StepFailed
from components.shared.registry_state import RegistryState
from pipelines.targets.state import State

_log = logging.getLogger(__name__)


def read(state: State, name: str) -> RegistryState | None:
    """Describe what the registry holds for a project; None if it can't be used, which the run's steps will explain.

    A registry that does not exist yet is created by the run. MLflow is imported in the background then: that takes
    seconds, and the command needs it after the run.
    """
    if not state.registry_exists:
        threading.Thread(target=registry.load, daemon=True).start()
        return registry_state.empty()
    try:
        return registry_state.read(registry.open(state.registry_uri), name)
    except StepFailed as reason:
        _log.info("the registry can't be read before the run: %s", reason)
        return None
