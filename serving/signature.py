"""What a request may contain: the features of a model, as a check and an encoder in one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from components.shared.blank import clean
from components.shared.documents.model_facts import FeatureFacts, ModelFacts
from serving.refusal import RequestRefused, short, shown

Column = Sequence[Any] | np.ndarray
"""One feature's values: JSON values with None = missing, or floats with NaN = missing."""

_EXPECTED = {"numeric": "a number", "boolean": "true or false", "categorical": "text"}
_TYPES: dict[str, set[type]] = {"numeric": {int, float}, "boolean": {bool}, "categorical": {str}}


@dataclass(frozen=True)
class EncodedRows:
    """The model's input tensors, and per row the features whose category was never seen in training."""

    tensors: dict[str, np.ndarray]
    unseen: list[list[str]]


class Signature:
    """The features of one release.

    Args:
        facts: What the package says about its model.
    """

    def __init__(self, facts: ModelFacts) -> None:
        self.features = {feature.name: feature for feature in facts.features}
        self.names = frozenset(self.features)
        self.request_rows = facts.limits.request_rows
        self.request_bytes = int(facts.limits.request_mib * 2**20)
        self._numeric = tuple(self.features[name] for name in facts.numeric)
        self._categorical = tuple(self.features[name] for name in facts.categorical)
        self._vocabulary = {name: frozenset(words) | {""} for name, words in facts.vocabulary.items()}

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
        if self._numeric:
            tensors["numeric"] = self._encode_numbers(columns)
        unseen: list[list[str]] = [[] for _ in range(rows)]
        if self._categorical:
            tensors["categorical"] = self._encode_categories(columns, unseen)
        return EncodedRows(tensors, unseen)

    def _encode_numbers(self, columns: Mapping[str, Column]) -> np.ndarray:
        values = [columns[feature.name] for feature in self._numeric]
        for feature, column in zip(self._numeric, values, strict=True):
            _check(feature, column)
        with np.errstate(over="ignore"):
            # A number beyond float32 becomes infinite here; the model must never see one.
            matrix = np.array(values, dtype=np.float32)
        if np.isinf(matrix).any():
            index, row = np.argwhere(np.isinf(matrix))[0]
            raise RequestRefused(
                400,
                f"feature {short(self._numeric[index].name)}, row {row}: number {values[index][row]} is infinite or "
                "beyond the range of a 32-bit number.",
                "infinite",
            )
        return np.ascontiguousarray(matrix.T)

    def _encode_categories(self, columns: Mapping[str, Column], unseen: list[list[str]]) -> np.ndarray:
        matrix = np.empty((len(unseen), len(self._categorical)), dtype=object)
        for index, feature in enumerate(self._categorical):
            column = columns[feature.name]
            if _check(feature, column):
                column = ["" if value is None else value for value in column]
            vocabulary = self._vocabulary[feature.name]
            if not vocabulary.issuperset(column):
                # Training saw clean texts only; a blank one was missing.
                column = [clean(value) for value in column]
                _check(feature, column)
                for row, value in enumerate(column):
                    if value not in vocabulary:
                        unseen[row].append(feature.name)
            matrix[:, index] = column
        return matrix

    def _listed(self) -> str:
        names = sorted(self.names)
        return f"{names}" if len(names) <= 30 else f"{names[:30]} and {len(names) - 30} more"


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
