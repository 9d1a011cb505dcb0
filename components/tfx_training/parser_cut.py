"""A frozen graph without its parser of serialized examples: what has to be put in the place of the parser's outputs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.python.framework import tensor_util

from components.shared.errors import InputError

EMPTY_TEXT = np.array([b""], object), np.array([1], np.int64)
"""The table that tells a missing text from all others: ONNX compares numbers only."""
PARSER = "ParseExampleV2"
_FORWARDS = ("Identity", "PlaceholderWithDefault")


class _Feature(NamedTuple):
    """One feature that the parser reads, and the names of the tensors that hold it."""

    name: str
    type: Any
    shape: tuple[int, ...] | None
    """Of the value in a row; None of a sparse feature."""
    default: Any
    """Of a dense feature without a value; None if it must have one."""
    values: str
    indices: str | None
    row_shape: str | None


@dataclass(frozen=True)
class ParserCut:
    """A graph whose parser can be replaced.

    Attributes:
        graph: A ``tf.compat.v1.GraphDef``; its placeholders are those of the frozen graph, and ``word_tables``.
        features: What the parser reads.
        word_tables: Placeholder of a table that tells one word from all others -> keys and values.
    """

    graph: Any
    features: tuple[_Feature, ...]
    word_tables: Mapping[str, tuple[NDArray[Any], NDArray[Any]]]

    @classmethod
    def of(cls, graph: Any) -> Self:
        """Rewrite a frozen graph in place.

        Raises:
            InputError: If it has no parser, or more than one.
        """
        for node in graph.node:
            # Nothing of a frozen graph has effects that others would have to wait for.
            data = [name for name in node.input if not name.startswith("^")]
            del node.input[:]
            node.input.extend(data)
        nodes = {node.name: node for node in graph.node}
        parsers = [node for node in graph.node if node.op == PARSER]
        if len(parsers) != 1:
            raise InputError(
                f"the signature parses its examples in {len(parsers)} operations {PARSER}; expected one, as TFX "
                "exports it. Such a model stays with TF Serving."
            )
        features = tuple(_features(nodes, parsers[0]))
        _densify(graph, nodes, features)
        return cls(graph, features, _compare_by_tables(graph, nodes))

    @property
    def types(self) -> dict[str, Any]:
        """Return each feature's ``tf.DType`` in an example."""
        return {feature.name: feature.type for feature in self.features}

    def check(self, numeric: Sequence[str], categorical: Sequence[str]) -> None:
        """Refuse columns that the features do not fit.

        Raises:
            InputError: If a feature is not among the columns, is of another type, or has several values in a row.
        """
        for feature in self.features:
            wanted, other = (categorical, numeric) if feature.type == tf.string else (numeric, categorical)
            if feature.name in other:
                raise InputError(
                    f"the SavedModel reads {feature.name!r} as {feature.type.name}, the project file says that it is "
                    f"{'a number' if feature.type == tf.string else 'categorical'}; correct 'features' in project.yaml."
                )
            if feature.name not in wanted:
                raise InputError(
                    f"the SavedModel reads the feature {feature.name!r}, which the project does not have; it has "
                    f"{sorted((*numeric, *categorical))}. Add it to 'features' in project.yaml."
                )
            if feature.shape is not None and int(np.prod(feature.shape, dtype=int)) != 1:
                raise InputError(
                    f"the feature {feature.name!r} of the SavedModel has the shape {feature.shape} in a row; expected "
                    "one value. Such a model stays with TF Serving."
                )

    def replacements(self, columns: Mapping[str, Any], empty_text: Any) -> dict[str, Any]:
        """Return what takes the place of each output of the parser.

        Args:
            columns: Feature -> (n, 1) float32 with NaN, or text with "", where it is missing.
            empty_text: Handle of a table with the content ``EMPTY_TEXT``.
        """
        replaced: dict[str, Any] = {}
        for feature in self.features:
            column, missing = _typed(feature, columns[feature.name], empty_text)
            if feature.shape is not None:
                if feature.default is not None:
                    column = tf.where(missing, tf.constant(feature.default, feature.type), column)
                replaced[feature.values] = tf.reshape(column, [-1, *feature.shape])
                continue
            replaced[feature.values] = tf.reshape(column, [-1])
            replaced[f"{_missing(feature)}:0"] = missing
            rows = tf.shape(column, out_type=tf.int64)[0]
            replaced[str(feature.row_shape)] = tf.stack([rows, tf.constant(1, tf.int64)])
        return replaced


def _typed(feature: _Feature, column: Any, empty_text: Any) -> tuple[Any, Any]:
    """Return a column in the type that the parser gives, and where it is missing; an integer is 0 there."""
    if feature.type == tf.string:
        found = tf.raw_ops.LookupTableFindV2(table_handle=empty_text, keys=column, default_value=np.int64(0))
        # In a graph, == compares the tensors themselves. What is looked up has no shape.
        return column, tf.equal(tf.reshape(found, [-1, 1]), 1)
    missing = tf.math.is_nan(column)
    if feature.type == tf.int64:
        column = tf.where(missing, tf.zeros_like(column), column)
    return tf.cast(column, feature.type), missing


def _features(nodes: Mapping[str, Any], parser: Any) -> list[_Feature]:
    sparse, dense = (_constant(nodes, parser.input[index]).reshape(-1) for index in (2, 3))
    count, features = len(sparse), []
    for index, (name, kind) in enumerate(zip(sparse, parser.attr["sparse_types"].list.type, strict=True)):
        values, indices, shape = (f"{parser.name}:{index + count * part}" for part in (1, 0, 2))
        features.append(_Feature(name.decode(), tf.as_dtype(kind), None, None, values, indices, shape))
    shapes, kinds = parser.attr["dense_shapes"].list.shape, parser.attr["Tdense"].list.type
    for index, (name, kind, shape) in enumerate(zip(dense, kinds, shapes, strict=True)):
        default = _constant(nodes, parser.input[5 + index]).reshape(-1)
        values = f"{parser.name}:{3 * count + index}"
        given = default[0] if default.size else None
        sizes = tuple(dimension.size for dimension in shape.dim)
        features.append(_Feature(name.decode(), tf.as_dtype(kind), sizes, given, values, None, None))
    return features


def _densify(graph: Any, nodes: Mapping[str, Any], features: Sequence[_Feature]) -> None:
    """Let every feature without values take the default at the place where a sparse tensor becomes a dense one."""
    by_indices = {feature.indices: feature for feature in features if feature.indices is not None}
    for sparse in by_indices.values():
        _add(graph, _missing(sparse), "Placeholder", dtype=tf.bool)
    for node in [node for node in graph.node if node.op == "SparseToDense"]:
        feature = by_indices.get(_full(_origin(nodes, node.input[0])))
        if feature is None:
            continue
        shape = f"{node.name}_shape"
        _add_constant(graph, shape, np.array([-1, 1], np.int32))
        kind = tf.as_dtype(node.attr["T"].type)
        _add(graph, f"{node.name}_values", "Reshape", node.input[2], shape, T=kind, Tshape=tf.int32)
        default = node.input[3]
        node.op = "SelectV2"
        node.attr.clear()
        node.attr["T"].type = kind.as_datatype_enum
        del node.input[:]
        node.input.extend([_missing(feature), default, f"{node.name}_values"])


def _compare_by_tables(graph: Any, nodes: Mapping[str, Any]) -> dict[str, tuple[NDArray[Any], NDArray[Any]]]:
    """Compare texts with a word by a table, since ONNX compares numbers only."""
    tables: dict[str, tuple[NDArray[Any], NDArray[Any]]] = {}
    for node in list(graph.node):
        if node.op not in ("Equal", "NotEqual") or node.attr["T"].type != tf.string.as_datatype_enum:
            continue
        constants = [name for name in node.input if nodes[_origin(nodes, name).partition(":")[0]].op == "Const"]
        if len(constants) != 1:
            continue
        (compared,) = (name for name in node.input if name not in constants)
        table, found, one, zero = (f"{node.name}_{part}" for part in ("table", "found", "one", "zero"))
        word = _constant(nodes, constants[0]).reshape(-1)[:1]
        tables[table] = np.array(word, object), np.array([1], np.int64)
        _add(graph, table, "Placeholder", dtype=tf.resource)
        _add_constant(graph, one, np.array(1, np.int64))
        _add_constant(graph, zero, np.array(0, np.int64))
        _add(graph, found, "LookupTableFindV2", table, compared, zero, Tin=tf.string, Tout=tf.int64)
        del node.input[:]
        node.input.extend([found, one])
        node.attr["T"].type = tf.int64.as_datatype_enum
    return tables


def _missing(feature: _Feature) -> str:
    return f"missing_{feature.values.replace(':', '_').replace('/', '_')}"


def _origin(nodes: Mapping[str, Any], name: str) -> str:
    """Follow a tensor to where it is computed."""
    while nodes[name.partition(":")[0]].op in _FORWARDS:
        name = nodes[name.partition(":")[0]].input[0]
    return name


def _full(name: str) -> str:
    """Write the first output of a node with its number.

    >>> _full("parser"), _full("parser:1")
    ('parser:0', 'parser:1')
    """
    return name if ":" in name else f"{name}:0"


def _constant(nodes: Mapping[str, Any], name: str) -> NDArray[Any]:
    node = nodes[_origin(nodes, name).partition(":")[0]]
    while node.op == "Reshape":
        # The default of a dense feature is given its shape.
        node = nodes[_origin(nodes, node.input[0]).partition(":")[0]]
    value: NDArray[Any] = tensor_util.MakeNdarray(node.attr["value"].tensor)
    return value


def _add(graph: Any, name: str, operation: str, *inputs: str, **types: Any) -> Any:
    node = graph.node.add(name=name, op=operation, input=inputs)
    for attribute, kind in types.items():
        node.attr[attribute].type = kind.as_datatype_enum
    return node


def _add_constant(graph: Any, name: str, value: NDArray[Any]) -> None:
    kind = tf.as_dtype(value.dtype)
    _add(graph, name, "Const", dtype=kind).attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value, kind))
