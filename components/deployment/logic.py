"""Release a version: it must answer right beside the champion before it may take over.

The order is the promise: copy, journal, load beside, ask, move the alias (the commit point), switch, ask again. The
former champion answers until the switch, and again if anything fails. A process killed anywhere in between leaves a
journal that ``components.shared.recovery`` finishes or takes back.
"""

import logging
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from components.shared import inference, processes, recovery, registry, releases
from components.shared.errors import GateRejected, InputError, StepFailed
from components.shared.files import from_uri, read_json
from components.shared.project import Project

logger = logging.getLogger(__name__)

_POLL_S = 0.05
_APPEAR_S = 2.0
_START_S = 120.0


def deploy(
    project: Project,
    release: Path,
    verdict_path: Path,
    registry_uri: str,
    endpoint: str,
    deadline_s: float = 120.0,
) -> str:
    """Release what the gate promoted.

    Args:
        project: Whose model it is.
        release: The release's manifests and ``release.json``.
        verdict_path: The gate's verdict; it is checked here again.
        registry_uri: Where the champion's alias lives.
        endpoint: The endpoint's folder; a server must be running on it.
        deadline_s: Longest wait for the release to load, and again for it to take over.

    Returns:
        "released", or "unchanged" when this very version answers already.

    Raises:
        GateRejected: If the verdict does not promote.
        StepFailed: If the release could not be brought to answer right; the former champion answers again.
    """
    verdict = read_json(verdict_path)
    if verdict["promote"] is not True:
        broken = [rule["reason"] for rule in verdict["rules"] if not rule["passed"]]
        raise GateRejected(f"The gate did not promote this candidate, nothing is released: {'; '.join(broken)}")
    plan = read_json(release / "release.json")
    if plan["name"] != project.name:
        raise StepFailed(f"The release is of model {plan['name']!r}, the project is {project.name!r}; register again.")
    folder = Path(endpoint)
    client = registry.open(registry_uri)
    recovery.recover(folder, registry_uri)
    champion = registry.champion(client, project.name)
    if releases.active(folder) == champion == plan["version"]:
        return "unchanged"
    entry = _begin(folder, plan, champion)
    try:
        _take_over(folder, release, entry, plan, client, deadline_s)
    except BaseException as failure:
        _take_back(folder, entry, client, failure)
        if isinstance(failure, StepFailed) or not isinstance(failure, Exception):
            raise
        raise StepFailed(f"Release {entry.version} failed and is taken back: {_line(failure)}") from failure
    return "released"


def _begin(endpoint: Path, plan: dict[str, Any], champion: str | None) -> releases.Journal:
    """Check that nothing else is under way and that somebody will serve it."""
    under_way = releases.journal(endpoint)
    if under_way is not None:
        raise StepFailed(
            f"Release {under_way.version} is under way in process {under_way.pid}; wait for it and run again."
        )
    _await_server(endpoint, _START_S)
    if releases.server(endpoint) is None:
        raise StepFailed(f"No server runs on the endpoint {endpoint}; start one with 'perennial serve' and run again.")
    return releases.Journal(
        name=plan["name"],
        version=plan["version"],
        former=releases.active(endpoint),
        former_champion=champion,
        pid=os.getpid(),
        started=processes.started(os.getpid()),
    )


def _await_server(endpoint: Path, deadline_s: float) -> None:
    """Wait for a server that is starting; a run whose steps all come from the cache is here before its server."""
    begun = time.monotonic()
    while releases.server(endpoint) is None and (waited := time.monotonic() - begun) < deadline_s:
        if waited > _APPEAR_S and not releases.starting(endpoint):
            return
        time.sleep(_POLL_S)


def _take_over(
    endpoint: Path, release: Path, entry: releases.Journal, plan: dict[str, Any], client: Any, deadline_s: float
) -> None:
    package = from_uri(plan["storage_uri"])
    tolerance = float(read_json(package / "model.json")["tolerance"])
    sample = read_json(package / "sample.json")
    releases.install(release, endpoint, entry.version)
    releases.write_journal(endpoint, entry)
    url = _url(endpoint)
    _wait(deadline_s, f"Release {entry.version} did not become ready", lambda: _loaded(url, entry))
    answer = _ask(url, entry, sample["rows"], entry.version)
    _check(answer, sample["scores"], tolerance, entry.version)
    registry.move_alias(client, entry.name, registry.CHAMPION, entry.version)
    releases.write_active(endpoint, entry.version)
    _wait(deadline_s, f"Release {entry.version} did not take over", lambda: _answers(url, entry, sample["rows"][:1]))
    _check(_ask(url, entry, sample["rows"], None), sample["scores"], tolerance, entry.version)
    releases.write_journal(endpoint, None)
    logger.info("release %s of %s answers at %s", entry.version, entry.name, url)


def _take_back(endpoint: Path, entry: releases.Journal, client: Any, failure: BaseException) -> None:
    """Undo the release; where even that fails, the journal stays and the next command takes it back."""
    try:
        recovery.undo(endpoint, entry, client)
    except OSError as broken:
        raise StepFailed(
            f"Release {entry.version} failed ({_line(failure)}) and could not be taken back ({broken}); "
            "mend that, the next command takes it back."
        ) from failure
    _await_former(endpoint, entry)


def _await_former(endpoint: Path, entry: releases.Journal, deadline_s: float = 10.0) -> None:
    """Give the server the moment it needs to let the former release answer again; one that is gone needs none."""
    server = releases.server(endpoint)
    end = time.monotonic() + deadline_s
    while server is not None and time.monotonic() < end:
        try:
            status, _ = inference.call(server.rest_url, f"/v2/models/{entry.name}/versions/{entry.version}/ready")
        except StepFailed:
            return
        if status == 404 or entry.version == entry.former:
            return
        time.sleep(_POLL_S)


def _url(endpoint: Path) -> str:
    server = releases.server(endpoint)
    if server is None:
        raise StepFailed(f"The server of the endpoint {endpoint} has ended; start it and run again.")
    return server.rest_url


def _loaded(url: str, entry: releases.Journal) -> bool:
    status, state = inference.call(url, f"/v2/models/{quote(entry.name)}/versions/{quote(entry.version)}/ready")
    if status == 503:
        raise StepFailed(f"The server can't load release {entry.version}: {state.get('state')}")
    return status == 200


def _answers(url: str, entry: releases.Journal, rows: list[dict[str, Any]]) -> bool:
    try:
        return bool(inference.predict(url, entry.name, rows)["model_version"] == entry.version)
    except InputError:
        # Before the first release has taken over, the public name is unknown.
        return False


def _ask(url: str, entry: releases.Journal, rows: list[dict[str, Any]], version: str | None) -> dict[str, Any]:
    try:
        return inference.predict(url, entry.name, rows, version=version)
    except InputError as refused:
        raise StepFailed(f"Release {entry.version} refuses its own sample: {refused}") from refused


def _check(answer: dict[str, Any], scores: list[Any], tolerance: float, version: str) -> None:
    """Compare an answer with the scores that were computed in training."""
    if answer["model_version"] != version:
        raise StepFailed(f"Release {answer['model_version']} answered where {version} was asked; release again.")
    for row, (prediction, expected) in enumerate(zip(answer["predictions"], scores, strict=True)):
        got = prediction["score"]
        pairs = zip(got, expected, strict=True) if isinstance(got, list) else [(got, expected)]
        # An answer in the label's unit may be large: the tolerance is relative there, absolute below one.
        if not all(math.isclose(a, b, rel_tol=tolerance, abs_tol=tolerance) for a, b in pairs):
            raise StepFailed(
                f"Release {version} answers row {row} of its sample with {got}, training computed {expected} "
                f"(tolerance {tolerance:g}); it is not released."
            )


def _wait(deadline_s: float, sentence: str, reached: Callable[[], bool]) -> None:
    end = time.monotonic() + deadline_s
    while not reached():
        if time.monotonic() > end:
            raise StepFailed(f"{sentence} within {deadline_s:.0f} s; the endpoint's server.log says more.")
        time.sleep(_POLL_S)


def _line(failure: BaseException) -> str:
    return " ".join(f"{type(failure).__name__}: {failure}".split())
