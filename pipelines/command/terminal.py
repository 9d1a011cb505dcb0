"""The terminal that the command prints to."""

import re
import sys
from typing import Any

from rich.console import Console
from rich.text import Text

# Off a terminal (a log of CI, a pipe) lines are as wide as the widest table wants.
WIDE = 140


# All but tabs and line ends: they could move the cursor, change colours or the window's title.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def visible(text: str) -> str:
    r"""Replace control characters by their codes: tables, logs and file names are not ours, and may hold any.

    >>> visible("a\x1b[2Jb\tc")
    'a\\x1b[2Jb\tc'
    """
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


class _Console(Console):
    """A console that shows no control character of what it is given; its own styles are as ever."""

    def render_str(self, text: str, **options: Any) -> Text:
        """Turn a string into text."""
        return super().render_str(visible(text), **options)


def console() -> Console:
    """Return a console bound to standard output as it is now: while kfp runs, that goes to kfp's log."""
    return _Console(
        file=sys.stdout,
        soft_wrap=True,
        highlight=False,
        width=None if sys.stdout.isatty() else WIDE,
        # A notebook and a CI's log, whatever colours they ask for, show lines; neither can go back to one.
        force_terminal=sys.stdout.isatty(),
        force_jupyter=False,
    )
