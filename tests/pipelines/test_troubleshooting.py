"""The messages that the manual explains are messages of the code."""

import ast
import re
from collections.abc import Iterator
from functools import cache

import pytest

from pipelines.images.environments import ROOT

PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
MESSAGES = re.findall(r"^\| `([^`]+)` \|", PAGE, re.MULTILINE)
GAP = "…"


def sentences() -> Iterator[str]:
    """Yield every text of the code, with a gap for each value that is formatted into it."""
    for folder in ("components", "pipelines", "serving"):
        for file in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    yield "".join(str(part.value) if isinstance(part, ast.Constant) else GAP for part in node.values)
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield node.value


@cache
def code() -> str:
    return "\n".join(sentences())


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_of_the_page_is_in_the_code(message):
    constant = [re.escape(part) for part in re.split(rf"\s*{GAP}\s*", message) if part]

    # Between two constant parts there is a value, which may bring its own quotes; a sentence is one line.
    assert re.search(r"[^\n]*?".join(constant), code()), f"no message reads {message!r}"


def test_the_page_explains_dozens_of_messages_each_once():
    assert len(MESSAGES) > 40
    assert len(set(MESSAGES)) == len(MESSAGES)


def test_a_message_that_the_code_does_not_have_is_noticed():
    with pytest.raises(AssertionError, match="no message reads"):
        test_a_message_of_the_page_is_in_the_code("the flux capacitor of … is empty")
