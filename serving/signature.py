"""What a request may contain: the features of a model, as a check and an encoder in one."""

import itertools
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from components.shared.blank import clean
from components.shared.documents.model_facts import FeatureFacts, ModelFacts
from serving import finite
from serving.refusal import RequestRefused, short, shown

Column = Sequence[Any] | np.ndarray
"""One feature's values: JSON values with None = missing, or floats with NaN = missing."""

_NUMBER_TYPES: frozenset[type] = frozenset({int, float, type(None)})
_BOOLEAN_TYPES: frozenset[type] = frozenset({bool, type(None)})
_PLAIN = {
    "numeric": frozenset({"FP32", "FP64"}),
    "boolean": frozenset({"BOOL"}),
    "categorical": frozenset({"BYTES"}),
}
_EXPECTED = {"numeric": "a number", "boolean": "true or false", "categorical": "text"}
_TYPES: dict[str, set[type]] = {"numeric": {int, float}, "boolean": {bool}, "categorical": {str}}


class EncodedRows(NamedTuple):
    """The model's input tensors, and what the log needs beside them.

    ``unseen`` names the features of a row whose category was never seen in training, if it has any. ``numbers`` is
    (numeric features, rows) float64, as received, NaN where missing; None if the model has no numeric feature.
    """

    tensors: dict[str, np.ndarray]
    unseen: dict[int, list[str]]
    numbers: np.ndarray | None = None

    def unseen_by_row(self) -> list[list[str]]:
        """Return such features of every row."""
        rows = len(next(iter(self.tensors.values())))
        return [self.unseen.get(row, []) for row in range(rows)]


class Signature:
    """The features of one release.

    Args:
        facts: What the package says about its model.
    """

    def __init__(self, facts: ModelFacts) -> None:
        self.features = {feature.name: feature for feature in facts.features}
        self.names = frozenset(self.features)
        self.ordered = tuple(self.features)
        self.inputs = (*facts.numeric, *facts.categorical)
        """The features in the order of the columns of the model's input tensors."""
        self.plain_datatypes = {feature.name: _PLAIN[feature.type] for feature in facts.features}
        """Feature to the datatypes whose JSON values are its values as they are."""
        self.request_rows = facts.limits.request_rows
        self.request_bytes = int(facts.limits.request_mib * 2**20)
        self._numeric = tuple(self.features[name] for name in facts.numeric)
        self._categorical = tuple(self.features[name] for name in facts.categorical)
        self._vocabulary = {name: frozenset(words) | {""} for name, words in facts.vocabulary.items()}
        self._numbers = tuple(feature.name for feature in self._numeric if feature.type == "numeric")
        self._booleans = tuple(feature.name for feature in self._numeric if feature.type == "boolean")
        # What needs no closer look: a missing text is a category of its own, where it may be missing.
        self._known = {
            feature.name: frozenset(facts.vocabulary[feature.name]) - {""} | ({""} if feature.missing else frozenset())
            for feature in self._categorical
        }
        self._required = frozenset(feature.name for feature in facts.features if not feature.missing)

    @classmethod
    def of(cls, facts: ModelFacts, names: Collection[str]) -> "Signature":
        """Return the signature of some of the features, which decodes them and encodes nothing."""
        return cls(
            facts.model_copy(
                update={
                    "features": tuple(feature for feature in facts.features if feature.name in names),
                    "numeric": tuple(name for name in facts.numeric if name in names),
                    "categorical": tuple(name for name in facts.categorical if name in names),
                }
            )
        )

    def check_names(self, names: Sequence[str] | Mapping[str, Any], where: str) -> None:
        """Refuse absent and unknown features, naming them."""
        if absent := sorted(self.names - set(names)):
            raise RequestRefused(
                400, f"{where}feature {short(absent[0])} is absent; expected {self._listed()}.", "absent"
            )
        if unknown := sorted(set(names) - self.names):
            raise RequestRefused(
                400, f"{where}feature {short(unknown[0])} is unknown; expected {self._listed()}.", "unknown_feature"
            )

    def check_rows(self, rows: int) -> None:
        """Refuse a request without rows, or with too many."""
        if rows == 0:
            raise RequestRefused(400, "the request has no rows; expected at least one.", "no_rows")
        if rows > self.request_rows:
            raise RequestRefused(
                413, f"the request has {rows} rows; at most {self.request_rows} are answered at once, split it.", "rows"
            )

    def encode(self, columns: Mapping[str, Column], rows: int) -> EncodedRows:
        """Check every value and build the model's tensors.

        Args:
            columns: Exactly the signature's features, each with ``rows`` values.
            rows: Number of rows, checked before.

        Raises:
            RequestRefused: At the first value that the signature forbids, naming its feature and row (from 0).
        """
        tensors: dict[str, np.ndarray] = {}
        numbers = None
        if self._numeric:
            numbers = self._checked_numbers(columns)
            tensors["numeric"] = self._encode_numbers(numbers, columns)
        unseen: dict[int, list[str]] = {}
        if self._categorical:
            tensors["categorical"] = self._encode_categories(columns, unseen)
        return EncodedRows(tensors, unseen, numbers)

    def _checked_numbers(self, columns: Mapping[str, Column]) -> np.ndarray:
        values = [columns[feature.name] for feature in self._numeric]
        if not (
            self._are_plain(columns, self._numbers, _NUMBER_TYPES)
            and self._are_plain(columns, self._booleans, _BOOLEAN_TYPES)
        ):
            for feature, column in zip(self._numeric, values, strict=True):
                _check(feature, column)
        return np.array(values, dtype=np.float64)

    def _encode_numbers(self, numbers: np.ndarray, columns: Mapping[str, Column]) -> np.ndarray:
        # A number beyond float32 becomes infinite here; the model must never see one.
        matrix = numbers.astype(np.float32)
        if finite.has_infinity(matrix):
            index, row = np.argwhere(np.isinf(matrix))[0]
            raise RequestRefused(
                400,
                f"feature {short(self._numeric[index].name)}, row {row}: number "
                f"{columns[self._numeric[index].name][row]} is infinite or "
                "beyond the range of a 32-bit number.",
                "infinite",
            )
        return np.ascontiguousarray(matrix.T)

    def _are_plain(self, columns: Mapping[str, Column], names: Sequence[str], types: frozenset[type]) -> bool:
        """Return whether all columns hold values of these types only, in one pass; otherwise each needs a look."""
        present = set(map(type, itertools.chain.from_iterable([columns[name] for name in names])))
        if not present <= types:
            return False
        return type(None) not in present or not any(None in columns[name] for name in names if name in self._required)

    def _encode_categories(self, columns: Mapping[str, Column], unseen: dict[int, list[str]]) -> np.ndarray:
        listed = []
        for feature in self._categorical:
            column, known = columns[feature.name], self._known[feature.name]
            listed.append(column if _holds(known, column) else self._cleaned(feature, column, unseen))
        return np.array(listed, dtype=object).T

    def _cleaned(self, feature: FeatureFacts, column: Column, unseen: dict[int, list[str]]) -> Column:
        """Check a column of texts, and note where one is not in the vocabulary."""
        if _check(feature, column):
            column = ["" if value is None else value for value in column]
        vocabulary = self._vocabulary[feature.name]
        if not vocabulary.issuperset(column):
            # Training saw clean texts only; a blank one was missing.
            column = [clean(value) for value in column]
            _check(feature, column)
            for row, value in enumerate(column):
                if value not in vocabulary:
                    unseen.setdefault(row, []).append(feature.name)
        return column

    def _listed(self) -> str:
        names = sorted(self.names)
        return f"{names}" if len(names) <= 30 else f"{names[:30]} and {len(names) - 30} more"


def _holds(known: frozenset[str], column: Column) -> bool:
    """Return whether a column holds known texts only."""
    try:
        return known.issuperset(column)
    except TypeError:
        # A list or an object is no text.
        return False


def _check(feature: FeatureFacts, column: Column) -> bool:
    """Refuse a wrong type or a missing value that is required; return whether values are missing."""
    if isinstance(column, np.ndarray):
        missing = bool(np.isnan(column).any())
        row = int(np.isnan(column).argmax()) if missing else 0
    else:
        types = set(map(type, column))
        wrong = types - _TYPES[feature.type] - {type(None)}
        if wrong:
            row = next(i for i, value in enumerate(column) if type(value) in wrong)
            raise RequestRefused(
                400,
                f"feature {short(feature.name)}, row {row}: expected {_EXPECTED[feature.type]}, "
                f"got {shown(column[row])}.",
                "type",
            )
        missing = type(None) in types or (feature.type == "categorical" and "" in column)
        row = next(i for i, value in enumerate(column) if value is None or value == "") if missing else 0
    if missing and not feature.missing:
        raise RequestRefused(
            400, f"feature {short(feature.name)}, row {row}: a value is required; it is missing.", "missing"
        )
    return missing
