"""Export a trained model as one ONNX graph on raw inputs; each kind of model adds its own nodes.

The graph is built node by node rather than converted: a converter requires specific versions of several packages,
creates a graph of several hundred nodes, and may write files that no runtime can load. Training measures the parity
with the trained model before the graph is used.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from components.shared.learning.encoding import Encoding
from components.shared.learning.labels import LabelEncoding
from components.shared.package.session import MARGIN, OUTPUT

NUMERIC, CATEGORICAL = "numeric", "categorical"
"""The inputs of a graph: (rows, features) float32 with NaN where missing, and text with \"\" where missing."""
ML = "ai.onnx.ml"
"""The domain of operators on categories and trees."""
_OPSETS = {"": 20, ML: 3}


class GraphBuilder:
    """A graph under construction: its nodes and constants."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, value: Any, kind: Any = np.float32) -> str:
        """Add a constant and return its name."""
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, kind), name))
        return name

    def add(self, operation: str, *inputs: str, name: str | None = None, **attributes: Any) -> str:
        """Add a node with one output and return its name."""
        output = name or f"{operation.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operation, list(inputs), [output], name=output, **attributes))
        return output

    def numbered(self, keys: Sequence[str], values: Sequence[int], columns: int, *, unknown: int) -> str:
        """Look the categories of every row up; return the name of (rows, columns) int64.

        Args:
            keys: Categories, prefixed with the index of their feature; see ``Encoding.keys``.
            values: The number of each key.
            columns: Number of categorical features.
            unknown: The number of a category that is no key.
        """
        prefix = self.constant([[f"{column}:" for column in range(columns)]], object)
        return self.add(
            "LabelEncoder",
            self.add("StringConcat", prefix, CATEGORICAL),
            domain=ML,
            keys_strings=list(keys),
            values_int64s=list(values),
            default_int64=unknown,
        )


def graph(encoding: Encoding, target: LabelEncoding, logits: Callable[[GraphBuilder], str]) -> onnx.ModelProto:
    """Return the model as ONNX: inputs ``numeric`` and ``categorical`` (if any), outputs ``score`` and ``margin``.

    A runtime computes only the outputs that are requested; ``margin`` explains a score.

    Args:
        encoding: Has the number of columns of the inputs.
        target: The encoding of the labels, which decides what a score is.
        logits: Adds the nodes of the model, and returns the name of its output (rows, units).
    """
    builder, inputs = GraphBuilder(), []
    if encoding.low:
        inputs.append(helper.make_tensor_value_info(NUMERIC, TensorProto.FLOAT, ["rows", len(encoding.low)]))
    if encoding.vocabulary:
        columns = len(encoding.vocabulary)
        inputs.append(helper.make_tensor_value_info(CATEGORICAL, TensorProto.STRING, ["rows", columns]))
    score, margin = _outputs(builder, target, logits(builder))
    shape = ["rows", target.units] if target.task == "multiclass" else ["rows"]
    outputs = [helper.make_tensor_value_info(output, TensorProto.FLOAT, shape) for output in (score, margin)]
    model = helper.make_model(
        helper.make_graph(builder.nodes, "perennial", inputs, outputs, builder.constants),
        opset_imports=[helper.make_opsetid(domain, version) for domain, version in _OPSETS.items()],
        ir_version=9,
        producer_name="perennial",
    )
    onnx.checker.check_model(model)
    return model


def _outputs(builder: GraphBuilder, target: LabelEncoding, logits: str) -> tuple[str, str]:
    """Add the nodes from the logits to the score; return the names of the score and of the margin."""
    if target.task == "multiclass":
        margin = builder.add("Identity", logits, name=MARGIN)
        return builder.add("Softmax", margin, axis=1, name=OUTPUT), margin
    column = builder.constant([-1], np.int64)
    if target.task == "binary":
        margin = builder.add("Reshape", logits, column, name=MARGIN)
        return builder.add("Sigmoid", margin, name=OUTPUT), margin
    scaled = builder.add("Mul", builder.add("Reshape", logits, column), builder.constant(target.scale))
    margin = builder.add("Add", scaled, builder.constant(target.mean), name=MARGIN)
    return builder.add("Identity", margin, name=OUTPUT), margin
