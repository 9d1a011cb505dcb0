"""Check whether a process is still running, although process ids are reused."""

from pathlib import Path


def started(pid: int) -> str | None:
    """Return the start time of a process in clock ticks since boot, or None if it is not running.

    A process id is eventually reused; the id and the start time together are unique until the next boot.
    """
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The command name is in parentheses and may contain spaces. After it, field 0 is the state and field 19 the start.
    fields = status.rpartition(")")[2].split()
    return None if fields[0] in ("Z", "X") else fields[19]


def alive(pid: int, start: str | None) -> bool:
    """Return whether the process with this id and start time is still running."""
    return start is not None and started(pid) == start
