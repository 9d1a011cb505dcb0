"""Export the trained model as one ONNX graph on raw inputs, independent of the Keras implementation.

The graph is built node by node rather than converted: a converter requires specific versions of several packages,
creates a graph of several hundred nodes, and may write files that no runtime can load. Training measures the parity
with Keras before the graph is used.
"""

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from components.shared.learning.encoding import Encoding
from components.shared.learning.labels import LabelEncoding
from components.shared.learning.network import WideDeep

_OPSETS = {"": 20, "ai.onnx.ml": 3}


class _GraphBuilder:
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


def graph(encoding: Encoding, target: LabelEncoding, trained: WideDeep) -> onnx.ModelProto:
    """Return the model as ONNX: inputs ``numeric`` and ``categorical`` (if they have columns), output ``score``."""
    builder = _GraphBuilder()
    inputs, features, logits = [], [], builder.constant(trained.bias.numpy())
    if encoding.low:
        inputs.append(helper.make_tensor_value_info("numeric", TensorProto.FLOAT, ["rows", len(encoding.low)]))
        features.append(_numbers(builder, encoding))
        wide = builder.add("MatMul", features[0], builder.constant(trained.wide_numbers.numpy()))
        logits = builder.add("Add", wide, logits)
    if encoding.vocabulary:
        columns = len(encoding.vocabulary)
        inputs.append(helper.make_tensor_value_info("categorical", TensorProto.STRING, ["rows", columns]))
        ids = _ids(builder, encoding)
        weights = builder.add("Gather", builder.constant(trained.wide_ids.numpy()), ids)
        axis = builder.constant([1], np.int64)
        logits = builder.add("Add", builder.add("ReduceSum", weights, axis, keepdims=0), logits)
        if trained.table is not None:
            embedded = builder.add("Gather", builder.constant(trained.table.numpy()), ids)
            flat = builder.constant([0, columns * trained.table.shape[1]], np.int64)
            features.append(builder.add("Reshape", embedded, flat))
    if trained.kernels:
        logits = builder.add("Add", _deep(builder, features, trained), logits)
    score = _score(builder, target, logits)
    shape = ["rows", target.units] if target.task == "multiclass" else ["rows"]
    outputs = [helper.make_tensor_value_info(score, TensorProto.FLOAT, shape)]
    model = helper.make_model(
        helper.make_graph(builder.nodes, "perennial", inputs, outputs, builder.constants),
        opset_imports=[helper.make_opsetid(domain, version) for domain, version in _OPSETS.items()],
        ir_version=9,
        producer_name="perennial",
    )
    onnx.checker.check_model(model)
    return model


def _numbers(builder: _GraphBuilder, encoding: Encoding) -> str:
    missing = builder.add("IsNaN", "numeric")
    values = builder.add("Where", missing, builder.constant(encoding.median), "numeric")
    values = builder.add(
        "Min", builder.add("Max", values, builder.constant(encoding.low)), builder.constant(encoding.high)
    )
    centred = builder.add("Sub", values, builder.constant(encoding.mean))
    parts = [builder.add("Mul", centred, builder.constant(1.0 / np.array(encoding.scale, np.float32)))]
    if encoding.bucket_feature:
        source = builder.add("Gather", values, builder.constant(encoding.bucket_feature, np.int64), axis=1)
        above = builder.add("Sub", source, builder.constant(encoding.bucket_low))
        position = builder.add("Mul", above, builder.constant(1.0 / np.array(encoding.bucket_width, np.float32)))
        parts.append(builder.add("Clip", position, builder.constant(0.0), builder.constant(1.0)))
    if encoding.gaps:
        flags = builder.add("Gather", missing, builder.constant(encoding.gaps, np.int64), axis=1)
        parts.append(builder.add("Cast", flags, to=TensorProto.FLOAT))
    return builder.add("Concat", *parts, axis=1)


def _ids(builder: _GraphBuilder, encoding: Encoding) -> str:
    keys, columns = encoding.keys(), len(encoding.vocabulary)
    prefix = builder.constant([[f"{column}:" for column in range(columns)]], object)
    ids = builder.add(
        "LabelEncoder",
        builder.add("StringConcat", prefix, "categorical"),
        domain="ai.onnx.ml",
        keys_strings=keys,
        values_int64s=list(range(1, len(keys) + 1)),
        default_int64=0,
    )
    unknown = builder.constant([[1 + len(keys) + column for column in range(columns)]], np.int64)
    return builder.add("Where", builder.add("Equal", ids, builder.constant(0, np.int64)), unknown, ids)


def _deep(builder: _GraphBuilder, features: list[str], trained: WideDeep) -> str:
    deep = builder.add("Concat", *features, axis=1)
    for kernel, bias in zip(trained.kernels, trained.biases, strict=False):
        deep = builder.add("Gemm", deep, builder.constant(kernel.numpy()), builder.constant(bias.numpy()))
        deep = builder.add("Relu", deep)
    return builder.add("MatMul", deep, builder.constant(trained.kernels[-1].numpy()))


def _score(builder: _GraphBuilder, target: LabelEncoding, logits: str) -> str:
    if target.task == "multiclass":
        return builder.add("Softmax", logits, axis=1, name="score")
    column = builder.add("Reshape", logits, builder.constant([-1], np.int64))
    if target.task == "binary":
        return builder.add("Sigmoid", column, name="score")
    scaled = builder.add("Mul", column, builder.constant(target.scale))
    return builder.add("Add", scaled, builder.constant(target.mean), name="score")
