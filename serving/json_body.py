"""A request body as JSON values: strict (no NaN, no infinities, UTF-8 only) and without duplicate keys."""

import json
import re
from typing import Any

import orjson

from serving.refusal import Refused, short

_KEY_END = re.compile(rb'"[ \t\r\n]*:')


def parse(body: bytes) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        Refused: If the body is no JSON, not UTF-8, nested too deeply, holds NaN or an infinity, or is no object.
    """
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as broken:
        raise Refused(400, f"The body is not JSON: {broken}.", "json") from broken
    if type(document) is not dict:
        raise Refused(400, "The body is not a JSON object.", "json")
    return document


def check_duplicates(body: bytes, keys: int) -> None:
    """Refuse a document that says one key twice; orjson would silently keep the last.

    Args:
        body: The document.
        keys: How many keys it holds after parsing. A colon more means a closer look, so a plain request costs nothing.
    """
    if body.count(b":") == keys or len(_KEY_END.findall(body)) == keys:
        return
    try:
        json.loads(body, object_pairs_hook=_without_duplicates)
    except RecursionError as deep:
        raise Refused(400, "The body is nested too deeply.", "json") from deep


def _without_duplicates(pairs: list[tuple[str, Any]]) -> None:
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            raise Refused(400, f"The body says {short(key)} twice in one object.", "json")
        seen.add(key)
