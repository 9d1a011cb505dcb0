"""Write what was measured into docs/benchmarks.md: one table per part, between two comments; the prose stays."""

import re
from collections.abc import Sequence

from components.shared.errors import InputError

HEADER = ("what", "measured", "beside", "ratio")


def updated(page: str, part: str, rows: Sequence[Sequence[str]], reading: str, measured_on: str) -> str:
    """Return the page with a part's table replaced.

    Args:
        page: Markdown with the comments ``<!-- bench PART -->`` and ``<!-- end -->``.
        part: The part that was measured.
        rows: Cells of each row, see ``HEADER``.
        reading: How to read the table, in one sentence.
        measured_on: Date and machine.

    Raises:
        InputError: If the page has no such comments, or has them twice.
    """
    # Up to the end of this part: the table of another one begins with the same comment.
    pattern = re.compile(rf"(?<=<!-- bench {re.escape(part)} -->\n)(?:(?!<!-- bench ).)*?(?=<!-- end -->)", re.DOTALL)
    if len(pattern.findall(page)) != 1:
        raise InputError(
            f"the page has {len(pattern.findall(page))} places for the part {part!r}; expected one: "
            f"'<!-- bench {part} -->' and '<!-- end -->', each on a line of its own."
        )
    lines = [HEADER, ("---",) * len(HEADER), *rows]
    table = "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)
    return pattern.sub(lambda _: f"\n{table}\n\n{reading} Measured {measured_on}.\n\n", page)


def has(page: str, part: str) -> bool:
    """Return whether a page has a place for a part."""
    return f"<!-- bench {part} -->" in page


def _cell(text: str) -> str:
    return text.replace("|", r"\|").replace("<", r"\<").replace("\n", " ")
