"""Watch a release that is exposed, where no server or command of this project runs that would."""

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime

from components.shared.errors import PerennialError, StepFailed
from components.shared.release.driver import Progress, ReleaseDriver
from components.shared.release.journal import ReleaseUnderWay

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 5.0
_PATIENCE = 120
"""Looks in a row that may fail: an API server or a registry may be down for ten minutes."""


def watch(
    driver: ReleaseDriver,
    version: str,
    *,
    look_every_s: float = LOOK_EVERY_S,
    sleep: Callable[[float], None] = time.sleep,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Progress | None:
    """Look at a release again and again, until it has ended or waits for somebody.

    Whoever watches may be killed and start again: all that is known is in the release's journal. A look that fails,
    because something does not answer, is repeated as long as the release waits.

    Args:
        driver: Of the endpoint.
        version: The candidate.
        look_every_s: Seconds between two looks.
        sleep: Waits for a number of seconds.
        now: Tells the time.

    Returns:
        What became of it: "released", "rolled back", "to approve" or "held"; None if somebody else ended it.

    Raises:
        PerennialError: If going on failed; the release is rolled back, unless the message says otherwise. Or if looks
            have failed for ten minutes; then it waits.
    """
    failures: list[Exception] = []
    while True:
        try:
            progress = driver.advance(now())
        except ReleaseUnderWay as other:
            # A command decides about it right now.
            logger.info("%s", other)
        except Exception as failed:
            # Whatever it is: without a watcher, a candidate that does harm would keep its share.
            logger.warning("%s", failed, exc_info=not isinstance(failed, PerennialError))
            failures.append(failed)
            if len(failures) >= _PATIENCE:
                raise
        else:
            if progress is None or progress.journal.version != version:
                if failures:
                    # It was rolled back for that, unless it says otherwise.
                    raise failures[-1]
                return None
            failures.clear()
            if progress.outcome in ("released", "rolled back", "to approve", "held"):
                return progress
            if progress.journal.held is not None:
                return progress._replace(outcome="held")
            logger.info("release %s: %s", version, progress.reason)
        sleep(look_every_s)


def ended(progress: Progress | None, version: str, champion: str | None) -> str:
    """Say what a watched release came to.

    Args:
        progress: What ``watch`` returned.
        version: The candidate.
        champion: Whom the registry's alias names now.

    Returns:
        "released", or "waiting" for an approval or a decision.

    Raises:
        StepFailed: If it was taken back.
    """
    if progress is None:
        if champion == version:
            return "released"
        raise StepFailed(
            f"release {version} was taken back by somebody else, version {champion} is the champion; "
            "'perennial release history' on that machine says why."
        )
    if progress.outcome == "rolled back":
        raise StepFailed(
            f"release {version} is taken back, release {progress.journal.former} answers: {progress.reason}"
        )
    return "released" if progress.outcome == "released" else "waiting"
