"""The trained model as one ONNX graph that takes raw inputs: a second, independent account of the same arithmetic.

It is written node by node rather than converted: a converter needs a fixed chain of versions, makes a graph of several
hundred nodes, and has been seen to write files that no runtime loads. Parity with Keras is measured before any use.
"""

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from components.shared.learning.encoding import Encoding
from components.shared.learning.labels import LabelEncoding
from components.shared.learning.network import WideDeep

_OPSETS = {"": 20, "ai.onnx.ml": 3}


class _Graph:
    """Nodes and constants in the making."""

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
    """Write the model as ONNX: inputs ``numeric`` and ``categorical`` as far as they exist, output ``score``."""
    made = _Graph()
    inputs, features, answer = [], [], made.constant(trained.bias.numpy())
    if encoding.low:
        inputs.append(helper.make_tensor_value_info("numeric", TensorProto.FLOAT, ["rows", len(encoding.low)]))
        features.append(_numbers(made, encoding))
        wide = made.add("MatMul", features[0], made.constant(trained.wide_numbers.numpy()))
        answer = made.add("Add", wide, answer)
    if encoding.vocabulary:
        columns = len(encoding.vocabulary)
        inputs.append(helper.make_tensor_value_info("categorical", TensorProto.STRING, ["rows", columns]))
        ids = _ids(made, encoding)
        weights = made.add("Gather", made.constant(trained.wide_ids.numpy()), ids)
        axis = made.constant([1], np.int64)
        answer = made.add("Add", made.add("ReduceSum", weights, axis, keepdims=0), answer)
        if trained.table is not None:
            embedded = made.add("Gather", made.constant(trained.table.numpy()), ids)
            flat = made.constant([0, columns * trained.table.shape[1]], np.int64)
            features.append(made.add("Reshape", embedded, flat))
    if trained.kernels:
        answer = made.add("Add", _deep(made, features, trained), answer)
    score = _answer(made, target, answer)
    shape = ["rows", target.units] if target.task == "multiclass" else ["rows"]
    outputs = [helper.make_tensor_value_info(score, TensorProto.FLOAT, shape)]
    model = helper.make_model(
        helper.make_graph(made.nodes, "perennial", inputs, outputs, made.constants),
        opset_imports=[helper.make_opsetid(domain, version) for domain, version in _OPSETS.items()],
        ir_version=9,
        producer_name="perennial",
    )
    onnx.checker.check_model(model)
    return model


def _numbers(made: _Graph, encoding: Encoding) -> str:
    missing = made.add("IsNaN", "numeric")
    known = made.add("Where", missing, made.constant(encoding.median), "numeric")
    known = made.add("Min", made.add("Max", known, made.constant(encoding.low)), made.constant(encoding.high))
    centred = made.add("Sub", known, made.constant(encoding.mean))
    parts = [made.add("Mul", centred, made.constant(1.0 / np.array(encoding.scale, np.float32)))]
    if encoding.bucket_feature:
        source = made.add("Gather", known, made.constant(encoding.bucket_feature, np.int64), axis=1)
        above = made.add("Sub", source, made.constant(encoding.bucket_low))
        position = made.add("Mul", above, made.constant(1.0 / np.array(encoding.bucket_width, np.float32)))
        parts.append(made.add("Clip", position, made.constant(0.0), made.constant(1.0)))
    if encoding.gaps:
        flags = made.add("Gather", missing, made.constant(encoding.gaps, np.int64), axis=1)
        parts.append(made.add("Cast", flags, to=TensorProto.FLOAT))
    return made.add("Concat", *parts, axis=1)


def _ids(made: _Graph, encoding: Encoding) -> str:
    keys, columns = encoding.keys(), len(encoding.vocabulary)
    prefix = made.constant([[f"{column}:" for column in range(columns)]], object)
    ids = made.add(
        "LabelEncoder",
        made.add("StringConcat", prefix, "categorical"),
        domain="ai.onnx.ml",
        keys_strings=keys,
        values_int64s=list(range(1, len(keys) + 1)),
        default_int64=0,
    )
    unseen = made.constant([[1 + len(keys) + column for column in range(columns)]], np.int64)
    return made.add("Where", made.add("Equal", ids, made.constant(0, np.int64)), unseen, ids)


def _deep(made: _Graph, features: list[str], trained: WideDeep) -> str:
    deep = made.add("Concat", *features, axis=1)
    for kernel, bias in zip(trained.kernels, trained.biases, strict=False):
        deep = made.add("Gemm", deep, made.constant(kernel.numpy()), made.constant(bias.numpy()))
        deep = made.add("Relu", deep)
    return made.add("MatMul", deep, made.constant(trained.kernels[-1].numpy()))


def _answer(made: _Graph, target: LabelEncoding, logits: str) -> str:
    if target.task == "multiclass":
        return made.add("Softmax", logits, axis=1, name="score")
    column = made.add("Reshape", logits, made.constant([-1], np.int64))
    if target.task == "binary":
        return made.add("Sigmoid", column, name="score")
    scaled = made.add("Mul", column, made.constant(target.scale))
    return made.add("Add", scaled, made.constant(target.mean), name="score")
