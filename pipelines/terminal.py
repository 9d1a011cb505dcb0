"""The terminal that the command prints to."""

import sys

from rich.console import Console

# Off a terminal (a log of CI, a pipe) lines are as wide as the widest table wants.
WIDE = 140


def console() -> Console:
    """Return a console bound to standard output as it is now: while kfp runs, that goes to kfp's log."""
    return Console(
        file=sys.stdout,
        soft_wrap=True,
        highlight=False,
        width=None if sys.stdout.isatty() else WIDE,
        # A notebook shows the lines as they are; each one in a frame of its own would be hard to read.
        force_jupyter=False,
    )
