"""A request body as JSON values: strict (no NaN, no infinities, UTF-8 only) and without duplicate keys."""

import json
import re
from typing import Any

import orjson

from serving.refusal import RequestRefused, short

_KEY_END = re.compile(rb'"[ \t\r\n]*:')


def parse(body: bytes) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        RequestRefused: If the body is not a JSON object, not UTF-8, nested too deeply, or holds NaN or an infinity.
    """
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as broken:
        raise RequestRefused(400, f"the body is not JSON: {broken}.", "json") from broken
    if type(document) is not dict:
        raise RequestRefused(400, "the body is not a JSON object.", "json")
    return document


def check_duplicates(body: bytes, keys: int) -> None:
    """Refuse a document that has one key twice; orjson would silently keep the last.

    Args:
        body: The document.
        keys: How many keys it holds after parsing. Only further colons cause a closer look, so that a plain request
            costs nothing.
    """
    if body.count(b":") == keys or len(_KEY_END.findall(body)) == keys:
        return
    try:
        json.loads(body, object_pairs_hook=_without_duplicates)
    except RecursionError as deep:
        raise RequestRefused(400, "the body is nested too deeply.", "json") from deep


def _without_duplicates(pairs: list[tuple[str, Any]]) -> None:
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            raise RequestRefused(400, f"the body has {short(key)} twice in one object.", "json")
        seen.add(key)
