"""The local endpoint: a folder on this machine, and the server that follows it.

Copy, journal, load beside, ask, move the alias (the commit point), switch, ask again. A process killed anywhere in
between leaves a journal that ``components.shared.recovery`` finishes or takes back.
"""

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from components.deployment.sample import Sample
from components.shared import inference, processes, recovery, registry, releases
from components.shared.errors import InputError, StepFailed

logger = logging.getLogger(__name__)

_POLL_S = 0.05
_APPEAR_S = 2.0
_START_S = 120.0


def release(
    manifests: Path, plan: dict[str, Any], client: Any, registry_uri: str, endpoint: Path, deadline_s: float
) -> str:
    """Release into the endpoint's folder; the former champion answers again where it fails.

    Args:
        manifests: The release's folder.
        plan: Its ``release.json``.
        client: The registry.
        registry_uri: Its address.
        endpoint: The folder; a server must be running on it.
        deadline_s: Longest wait for the release to load, and again for it to take over.
    """
    recovery.recover(endpoint, registry_uri)
    champion = registry.champion(client, plan["name"])
    if releases.active(endpoint) == champion == plan["version"]:
        return "unchanged"
    entry = _begin(endpoint, plan, champion)
    try:
        _take_over(endpoint, manifests, entry, plan, client, deadline_s)
    except BaseException as failure:
        _take_back(endpoint, entry, client, failure)
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
    sample = Sample.of(plan, client)
    releases.install(release, endpoint, entry.version)
    releases.write_journal(endpoint, entry)
    url = _url(endpoint)
    _wait(deadline_s, f"Release {entry.version} did not become ready", lambda: _loaded(url, entry))
    sample.ask(url, by_version=True)
    registry.move_alias(client, entry.name, registry.CHAMPION, entry.version)
    releases.write_active(endpoint, entry.version)
    _wait(deadline_s, f"Release {entry.version} did not take over", lambda: _answers(url, sample))
    sample.ask(url)
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


def _answers(url: str, sample: Sample) -> bool:
    try:
        return sample.answering(url) == sample.version
    except InputError:
        # Before the first release has taken over, the public name is unknown.
        return False


def _wait(deadline_s: float, sentence: str, reached: Callable[[], bool]) -> None:
    end = time.monotonic() + deadline_s
    while not reached():
        if time.monotonic() > end:
            raise StepFailed(f"{sentence} within {deadline_s:.0f} s; the endpoint's server.log says more.")
        time.sleep(_POLL_S)


def _line(failure: BaseException) -> str:
    return " ".join(f"{type(failure).__name__}: {failure}".split())
