"""Say which name was probably meant."""

import difflib
from collections.abc import Iterable


def hint(name: str, options: Iterable[str]) -> str:
    """Return the end of a sentence about an unknown name: the most similar option, or all of them.

    >>> hint("acuracy", ["accuracy", "auc"]), hint("x", ["b", "a"])
    ("did you mean 'accuracy'?", "expected one of ['a', 'b'].")
    """
    options = sorted(options)
    similar = difflib.get_close_matches(name, options, n=1)
    return f"did you mean {similar[0]!r}?" if similar else f"expected one of {options}."
