"""Is the process that wrote a file still the one that has its number?"""

from pathlib import Path


def started(pid: int) -> str | None:
    """Return when a process started, in the kernel's ticks since boot; None when it does not run.

    A number is given to another process sooner or later; number and start together are unique until the next boot.
    """
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The command's name stands in parentheses and may hold spaces; the state and 19 fields later the start follow.
    fields = status.rpartition(")")[2].split()
    return None if fields[0] in ("Z", "X") else fields[19]


def alive(pid: int, start: str | None) -> bool:
    """Say whether the process with this number still is the one that started then."""
    return start is not None and started(pid) == start
