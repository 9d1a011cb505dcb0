"""How a raw value of a table or a request becomes text, in one place, so that training and serving cannot differ."""

import math
from typing import Any


def category_text(value: Any) -> str:
    """Return the text under which a category or a class is known to the model; missing is "".

    A whole number reads the same whether a table kept it as an integer or, because of a gap, as a float.

    >>> [category_text(v) for v in (3, 3.0, 2.5, True, "Zürich", None, float("nan"))]
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
    return str(value)
