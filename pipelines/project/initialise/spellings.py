"""Recognise values that differ in upper and lower case only: Yes, yes, YES."""

from collections.abc import Iterable, Mapping

from components.shared.sql import identifier, literal

FALSE_OF = {"yes": "no", "y": "n", "true": "false", "t": "f", "1": "0", "1.0": "0.0"}
"""Words for true, in lower case, and the word for false that goes with each."""


def variants(counts: Mapping[str, int]) -> dict[str, list[str]]:
    """Return the most frequent spelling of each value that has several, and all its spellings.

    Single letters are left alone unless they mean yes or no: 'm' and 'M' may be a month and a male.

    >>> variants({"Yes": 7, "yes": 2, "No": 9, "m": 1, "M": 4})
    {'Yes': ['Yes', 'yes']}
    """
    groups: dict[str, list[str]] = {}
    for value in sorted(counts, key=lambda value: (-counts[value], value)):
        groups.setdefault(value.lower(), []).append(value)
    return {
        spelled[0]: spelled
        for folded, spelled in groups.items()
        if len(spelled) > 1 and (len(folded) > 1 or folded in {*FALSE_OF, *FALSE_OF.values()})
    }


def are_truth_values(values: Iterable[str]) -> bool:
    """Return whether values are two words for true and false, in any spelling.

    >>> are_truth_values(["Yes", "yes", "NO"]), are_truth_values(["yes", "false"])
    (True, False)
    """
    words = {value.lower() for value in values}
    return any(words <= {yes, no} for yes, no in FALSE_OF.items())


def sql(column: str, variants: Mapping[str, list[str]]) -> str:
    """Return SQL that gives every spelling of a value its most frequent one."""
    name = identifier(column)
    cases = "\n".join(f"WHEN {literal(chosen.lower())} THEN {literal(chosen)}" for chosen in variants)
    return f"CASE lower({name})\n{cases}\nELSE {name} END"
