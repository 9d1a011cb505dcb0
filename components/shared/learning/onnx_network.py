"""Write the network and its preprocessing as nodes of an ONNX graph, independent of the Keras implementation."""

import numpy as np
from onnx import TensorProto

from components.shared.learning.encoding import Encoding
from components.shared.learning.network import WideDeep
from components.shared.learning.onnx_graph import NUMERIC, GraphBuilder


def logits(builder: GraphBuilder, encoding: Encoding, trained: WideDeep) -> str:
    """Add the nodes that turn raw inputs into logits (rows, units); return the name of the last one."""
    features, output = [], builder.constant(trained.bias.numpy())
    if encoding.low:
        features.append(_numbers(builder, encoding))
        wide = builder.add("MatMul", features[0], builder.constant(trained.wide_numbers.numpy()))
        output = builder.add("Add", wide, output)
    if encoding.vocabulary:
        ids = _ids(builder, encoding)
        weights = builder.add("Gather", builder.constant(trained.wide_ids.numpy()), ids)
        axis = builder.constant([1], np.int64)
        output = builder.add("Add", builder.add("ReduceSum", weights, axis, keepdims=0), output)
        if trained.table is not None:
            embedded = builder.add("Gather", builder.constant(trained.table.numpy()), ids)
            flat = builder.constant([0, len(encoding.vocabulary) * trained.table.shape[1]], np.int64)
            features.append(builder.add("Reshape", embedded, flat))
    return builder.add("Add", _deep(builder, features, trained), output) if trained.kernels else output


def _numbers(builder: GraphBuilder, encoding: Encoding) -> str:
    missing = builder.add("IsNaN", NUMERIC)
    values = builder.add("Where", missing, builder.constant(encoding.median), NUMERIC)
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


def _ids(builder: GraphBuilder, encoding: Encoding) -> str:
    keys, columns = encoding.keys(), len(encoding.vocabulary)
    ids = builder.numbered(keys, list(range(1, len(keys) + 1)), columns, unknown=0)
    unknown = builder.constant([[1 + len(keys) + column for column in range(columns)]], np.int64)
    return builder.add("Where", builder.add("Equal", ids, builder.constant(0, np.int64)), unknown, ids)


def _deep(builder: GraphBuilder, features: list[str], trained: WideDeep) -> str:
    deep = builder.add("Concat", *features, axis=1)
    for kernel, bias in zip(trained.kernels, trained.biases, strict=False):
        deep = builder.add("Gemm", deep, builder.constant(kernel.numpy()), builder.constant(bias.numpy()))
        deep = builder.add("Relu", deep)
    return builder.add("MatMul", deep, builder.constant(trained.kernels[-1].numpy()))
