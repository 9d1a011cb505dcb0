"""Convert raw values to categories; the only definition, so that training and serving cannot differ."""

import math
from collections import Counter
from collections.abc import Iterable
from typing import Any

from components.shared.blank import clean


def category_text(value: Any) -> str:
    """Return the text that represents a category or class in the model; a missing value is "".

    An integer has the same text whether a table stores it as an integer or, because of missing values, as a float.
    Blanks around a text don't make another category; neither does the composition of its letters.

    >>> [category_text(v) for v in (3, 3.0, 2.5, True, " Zürich", None, float("nan"))]
    ['3', '3', '2.5', 'true', 'Zürich', '', '']
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        if math.isnan(value):
            return ""
        return str(int(value)) if value.is_integer() else repr(value)
    return clean(str(value))


def frequent(column: Iterable[str], limit: int) -> list[str]:
    """Return at most ``limit`` of the most frequent categories, ties in alphabetical order, without the missing value.

    >>> frequent(["b", "a", "", "b", "c", "a"], 2)
    ['a', 'b']
    """
    counts = Counter(column)
    counts.pop("", None)
    return [word for word, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:limit]]
