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
        # A notebook and a CI's log, whatever colours they ask for, show lines; neither can go back to one.
        force_terminal=sys.stdout.isatty(),
        force_jupyter=False,
    )
