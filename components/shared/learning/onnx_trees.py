"""Write boosted trees as one node of an ONNX graph.

A converter exists (onnxmltools), but it rounds thresholds to the nearest float32: a row on such a cut then takes the
other branch. For a float32 value, ``x <= t`` and ``x <= t rounded down`` are the same, so thresholds are rounded down.
"""

from collections import defaultdict
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from components.shared.learning.onnx_graph import ML, NUMERIC, GraphBuilder
from components.shared.learning.trees import Forest, TreeColumns

_ABSENT = -1
_ZERO = np.float32(1e-35)


def logits(builder: GraphBuilder, columns: TreeColumns, numbers: int, forest: Forest) -> str:
    """Add the nodes that turn raw inputs into logits (rows, units); return the name of the last one."""
    parts = [NUMERIC] if numbers else []
    if columns.codes:
        keyed = {f"{number}:{word}": code for number, codes in enumerate(columns.codes) for word, code in codes.items()}
        numbered = builder.numbered(list(keyed), list(keyed.values()), len(columns.codes), unknown=_ABSENT)
        is_absent = builder.add("Equal", numbered, builder.constant(_ABSENT, np.int64))
        codes = builder.add("Where", is_absent, builder.constant([columns.unknown], np.int64), numbered)
        parts.append(builder.add("Cast", codes, to=TensorProto.FLOAT))
    matrix = builder.add("Concat", *parts, axis=1) if len(parts) > 1 else parts[0]
    nodes = _TreeNodes()
    for tree, root in enumerate(forest.structures()):
        nodes.add(tree, root, tree % forest.units)
    settings: dict[str, Any] = {"n_targets": forest.units, "aggregate_function": "SUM", **nodes.attributes}
    return builder.add("TreeEnsembleRegressor", matrix, domain=ML, **settings)


def below(threshold: float) -> np.float32:
    """Return the float32 that divides float32 values as LightGBM's threshold does: the largest that is not above it.

    LightGBM takes values of up to 1e-35 for 0, so that a threshold among them is moved to where that range ends.

    >>> float(below(0.1)) <= 0.1 < float(np.nextafter(below(0.1), np.float32(1)))
    True
    """
    if abs(threshold) <= float(_ZERO):
        return _ZERO if threshold >= 0 else np.nextafter(-_ZERO, np.float32(-np.inf))
    with np.errstate(over="ignore"):
        nearest = np.float32(threshold)
    return nearest if float(nearest) <= threshold else np.nextafter(nearest, np.float32(-np.inf))


def cuts(forest: Forest, numbers: int) -> list[NDArray[np.float32]]:
    """Return the thresholds of each numeric feature and the float32 above each: the rows where rounding shows."""
    thresholds_of: list[set[np.float32]] = [set() for _ in range(numbers)]
    for root in forest.structures():
        waiting = [root]
        while waiting:
            node = waiting.pop()
            if "split_feature" in node:
                waiting += [node["left_child"], node["right_child"]]
                if node["decision_type"] == "<=":
                    thresholds_of[node["split_feature"]].add(below(node["threshold"]))
    largest = np.finfo(np.float32).max
    edges = [np.clip(np.array(sorted(thresholds), np.float32), -largest, largest) for thresholds in thresholds_of]
    return [np.concatenate([edge, np.nextafter(edge, largest)]) for edge in edges]


class _TreeNodes:
    """The attributes of the operator: parallel lists with one entry per node, and per leaf."""

    def __init__(self) -> None:
        self.attributes: dict[str, list[Any]] = defaultdict(list)
        self._tree = self._next = self._unit = 0

    def add(self, tree: int, root: dict[str, Any], unit: int) -> None:
        """Add a tree whose leaves count for one unit."""
        self._tree, self._next, self._unit = tree, 0, unit
        self._add(root)

    def _add(self, node: dict[str, Any]) -> int:
        """Add a node and all below it; return its number in the tree. A parent has a lower number than its children."""
        if "split_feature" not in node:
            return self._leaf(float(node["leaf_value"]))
        if node["decision_type"] == "==":
            return self._set(node)
        threshold = float(node["threshold"])
        # Where training had no gap, LightGBM takes a missing value for 0.
        to_left = node["default_left"] if node["missing_type"] == "NaN" else threshold >= 0
        number = self._node("BRANCH_LEQ", node["split_feature"], below(threshold), missing_is_true=to_left)
        self._join(number, self._add(node["left_child"]), self._add(node["right_child"]))
        return number

    def _set(self, node: dict[str, Any]) -> int:
        """Add a split by a set of categories: a chain of comparisons whose true branches lead to the same node."""
        codes = [float(code) for code in node["threshold"].split("||")]
        chain = [self._node("BRANCH_EQ", node["split_feature"], code, missing_is_true=False) for code in codes]
        inside, outside = self._add(node["left_child"]), self._add(node["right_child"])
        for number, after in zip(chain, [*chain[1:], outside], strict=True):
            self._join(number, inside, after)
        return chain[0]

    def _leaf(self, value: float) -> int:
        number = self._node("LEAF", 0, 0.0, missing_is_true=False)
        for name, content in (("treeids", self._tree), ("nodeids", number), ("ids", self._unit), ("weights", value)):
            self.attributes[f"target_{name}"].append(content)
        return number

    def _node(self, mode: str, feature: int, value: Any, *, missing_is_true: bool) -> int:
        number, self._next = self._next, self._next + 1
        content = {
            "treeids": self._tree, "nodeids": number, "featureids": feature, "modes": mode, "values": float(value),
            "truenodeids": 0, "falsenodeids": 0, "missing_value_tracks_true": int(missing_is_true),
        }  # fmt: skip
        for name, entry in content.items():
            self.attributes[f"nodes_{name}"].append(entry)
        return number

    def _join(self, number: int, true: int, false: int) -> None:
        place = len(self.attributes["nodes_nodeids"]) - self._next + number
        self.attributes["nodes_truenodeids"][place] = true
        self.attributes["nodes_falsenodeids"][place] = false
