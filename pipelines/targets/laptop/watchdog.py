"""End the process groups of a run when the command dies, however it dies.

The command keeps one pipe to this process and writes ``+group`` and ``-group`` lines. The end of the pipe means that
the command is gone (SIGKILL included), so whatever group is still listed is ended: first asked, then killed.
Runs as ``python watchdog.py`` with nothing but the standard library, once per run.
"""

import contextlib
import os
import signal
import sys
import time

# From the request to end to the kill.
GRACE_S = 5.0


def watch(lines: "object", grace_s: float = GRACE_S) -> None:
    """Follow the lines until they end, then end every group that is still listed."""
    groups: set[int] = set()
    for line in lines:  # type: ignore[attr-defined]
        (groups.add if line[0] == "+" else groups.discard)(int(line[1:]))
    end(groups, grace_s)


def end(groups: set[int], grace_s: float = GRACE_S) -> None:
    """Send SIGTERM to process groups, wait for them, then SIGKILL what is left."""
    for group in groups:
        _signal(group, signal.SIGTERM)
    deadline = time.monotonic() + grace_s
    while any(_alive(group) for group in groups) and time.monotonic() < deadline:
        time.sleep(0.05)
    for group in groups:
        _signal(group, signal.SIGKILL)


def _signal(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


if __name__ == "__main__":
    # Ctrl-C reaches the whole foreground group; the pipe tells when it is time to go.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    watch(sys.stdin)
