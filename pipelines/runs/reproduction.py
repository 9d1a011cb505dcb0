"""What two runs of the same data and code have in common, to the last digit, and what not."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.runs.report import documents
from pipelines.runs.report.documents import Documents

COMPARED = ("training_set", "split", "best", "trials", "model", "training", "evaluation", "verdict")
"""The documents that a candidate leaves, in the order in which they are written."""
_TIMES = frozenset({"cost", "duration_s", "seconds", "started", "resumed"})
"""Keys of what a clock measured, or of what is counted by the study's storage; they differ from run to run."""


@dataclass(frozen=True)
class Difference:
    """One value that is not the same."""

    document: str
    path: str
    """The keys to the value, joined by dots; indices are numbers."""
    before: Any
    after: Any


def differences(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[list[str], list[Difference]]:
    """Compare the documents of two candidates.

    Args:
        before: Artifacts of the one run, ``step.output`` to path.
        after: Artifacts of the other.

    Returns:
        The documents that both have, and every value in them that differs, however little.
    """
    first, second = documents.read(before), documents.read(after)
    pairs = {name: (_plain(first, name), _plain(second, name)) for name in COMPARED}
    compared = [name for name, pair in pairs.items() if None not in pair]
    # A document that only one run has, or that cannot be read, is a difference and no reason to compare less.
    different = [
        Difference(name, "", *("absent" if document is None else "present" for document in pair))
        for name, pair in pairs.items()
        if (pair[0] is None) != (pair[1] is None)
    ]
    different += [
        Difference(name, path, one, other)
        for name in compared
        for path, one, other in _walk(pairs[name][0], pairs[name][1], ())
    ]
    return compared, different


def _plain(written: Documents, name: str) -> Any:
    document = getattr(written, name)
    return None if document is None else document.as_json()


def _walk(one: Any, other: Any, keys: Sequence[str]) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted((one.keys() | other.keys()) - _TIMES):
            yield from _walk(one.get(key), other.get(key), (*keys, key))
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for index, (first, second) in enumerate(zip(one, other, strict=True)):
            yield from _walk(first, second, (*keys, str(index)))
    elif one != other:
        yield ".".join(keys), one, other
