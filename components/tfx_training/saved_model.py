"""A SavedModel that TFX exported: what it answers, and the same as a graph over columns.

The signature of such a model parses serialized ``tf.train.Example``, which no other runtime does. So the parser is cut
out of the frozen graph: every feature becomes a column of one of two tensors, as in a model package. A feature may have
one value in a row, or none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from components.shared.errors import InputError
from components.shared.inputs.rows import Inputs
from components.tfx_training.parser_cut import EMPTY_TEXT, PARSER, ParserCut

SIGNATURE = "serving_default"
_EMPTY = "empty"
NUMERIC, CATEGORICAL, SCORE = "numeric", "categorical", "score"
"""Names of the graph's inputs and of its output, which are those of a model package."""


@dataclass(frozen=True)
class ColumnGraph:
    """A frozen graph from columns to scores.

    Attributes:
        graph: A ``tf.compat.v1.GraphDef`` without variables.
        inputs: Some of ``NUMERIC``, (n, k) float32 with NaN where missing, and ``CATEGORICAL``, (n, m) text with ""
            where missing.
        tables: Shared name of each lookup table -> its keys and its values.
    """

    graph: Any
    inputs: tuple[str, ...]
    tables: Mapping[bytes, tuple[NDArray[Any], NDArray[Any]]]


class SavedModel:
    """One signature of a SavedModel.

    Args:
        folder: With ``saved_model.pb``.
        task: What the scores mean: of a binary model with two outputs, the second is the score.
        signature: Takes serialized examples, as every model of TFX does.
        output: Of the signature; None if it has one only.

    Raises:
        InputError: If it is no SavedModel, lacks the signature or the output, or the signature takes something else.
    """

    def __init__(self, folder: Path, task: str, signature: str = SIGNATURE, output: str | None = None) -> None:
        if not (folder / "saved_model.pb").is_file():
            raise InputError(f"{folder} has no saved_model.pb; name the folder of a version that TFX's Pusher wrote.")
        # Its tables and variables live as long as it does.
        self._loaded = tf.saved_model.load(str(folder))
        self._call = _choose(self._loaded.signatures, signature, "signature")
        (_, inputs), outputs = self._call.structured_input_signature, self._call.structured_outputs
        if [(spec.dtype, spec.shape.rank) for spec in inputs.values()] != [(tf.string, 1)]:
            raise InputError(
                f"the signature {signature!r} takes {sorted(inputs)}; expected one tensor of serialized "
                "tf.train.Example."
            )
        self._task, (self._input,) = task, inputs
        self._output = output or (next(iter(outputs)) if len(outputs) == 1 else "")
        _choose(outputs, self._output, "output")
        self._frozen = convert_variables_to_constants_v2(self._call, lower_control_flow=False, aggressive_inlining=True)
        self._cut = ParserCut.of(self._frozen.graph.as_graph_def())
        self._contents = {**self._tables(), **self._cut.word_tables, _EMPTY: EMPTY_TEXT}

    def answer(self, inputs: Inputs, numeric: Sequence[str], categorical: Sequence[str]) -> NDArray[np.float32]:
        """Return the scores of rows, from serialized examples: (n,), or (n, classes).

        Args:
            inputs: The rows.
            numeric: Names of the numeric columns.
            categorical: Names of the categorical columns.
        """
        types = self._cut.types
        examples = [
            _serialized(
                {name: types[name] for name in types},
                dict(zip((*numeric, *categorical), (*numbers, *words), strict=True)),
            )
            for numbers, words in zip(inputs.numeric, inputs.categorical, strict=True)
        ]
        answered = self._call(**{self._input: tf.constant(examples, tf.string)})[self._output]
        scores: NDArray[np.float32] = self._scores(answered).numpy()
        return scores

    def on_columns(self, numeric: Sequence[str], categorical: Sequence[str]) -> ColumnGraph:
        """Return the graph that takes the named columns, in this order.

        Raises:
            InputError: If the model reads a feature that is not among them or of another type, or has more than one
                value of it in a row.
        """
        self._cut.check(numeric, categorical)
        with tf.Graph().as_default() as graph:
            named = {
                name: tf.compat.v1.placeholder(kind, [None, len(columns)], name)
                for name, kind, columns in ((NUMERIC, tf.float32, numeric), (CATEGORICAL, tf.string, categorical))
                if columns
            }
            columns = {
                name: named[tensor][:, index : index + 1]
                for tensor, names in ((NUMERIC, numeric), (CATEGORICAL, categorical))
                for index, name in enumerate(names)
            }
            contents = self._contents
            tables = {
                name: _table(f"table_{index}", *content) for index, (name, content) in enumerate(contents.items())
            }
            replaced = self._cut.replacements(columns, tables.pop(_EMPTY)) | {
                f"{name}:0": table for name, table in tables.items()
            }
            index = sorted(self._call.structured_outputs).index(self._output)
            (answered,) = tf.graph_util.import_graph_def(
                self._cut.graph, replaced, [self._frozen.outputs[index].name], name="model"
            )
            tf.identity(self._scores(answered), SCORE)
            extracted = tf.compat.v1.graph_util.extract_sub_graph(graph.as_graph_def(), [SCORE])
        left = [node.name for node in extracted.node if node.op in ("Placeholder", PARSER) and node.name not in named]
        if left:
            raise InputError(
                "the model reads a feature in another way than as one value in a row, such as a sum over several "
                "values; such a model stays with TF Serving."
            )
        shared = {f"table_{index}".encode(): content for index, content in enumerate(contents.values())}
        by_name = {
            node.attr["shared_name"].s: shared[node.name.encode()]
            for node in extracted.node
            if node.op == "HashTableV2"
        }
        return ColumnGraph(extracted, tuple(named), by_name)

    def _scores(self, answered: Any) -> Any:
        """Return (n,) scores, or (n, classes) of several classes."""
        if self._task == "multiclass":
            return answered
        if self._task == "binary" and answered.shape.rank == 2 and answered.shape[1] == 2:
            return answered[:, 1]
        return tf.reshape(answered, [-1])

    def _tables(self) -> dict[str, tuple[NDArray[Any], NDArray[Any]]]:
        """Return the content of every table of the frozen graph, by the placeholder that stands for it."""
        contents = {}
        placeholders = {node.name for node in self._cut.graph.node if node.op == "Placeholder"}
        for resource, placeholder in self._call.graph.captures:
            name = placeholder.name.partition(":")[0]
            if resource.dtype == tf.resource and name in placeholders:
                try:
                    content = tf.raw_ops.LookupTableExportV2(table_handle=resource, Tkeys=tf.string, Tvalues=tf.int64)
                except tf.errors.InvalidArgumentError:
                    raise InputError(
                        "the SavedModel looks up something else than the number of a text; such a model stays with TF "
                        "Serving."
                    ) from None
                contents[name] = content.keys.numpy(), content.values.numpy()
        return contents


def _choose(there: Any, name: str, what: str) -> Any:
    if name not in there:
        raise InputError(
            f"the SavedModel has no {what} {name!r}; expected one of {sorted(there)}, name it with --{what}."
        )
    return there[name]


def _table(name: str, keys: NDArray[Any], values: NDArray[Any]) -> Any:
    content = tf.lookup.KeyValueTensorInitializer(tf.constant(keys), tf.constant(values, tf.int64))
    return tf.lookup.StaticHashTable(content, -1, name=name).resource_handle


def _serialized(types: Mapping[str, Any], row: Mapping[str, Any]) -> bytes:
    """Write a row as an example, with each feature in the type that the parser reads; a missing one has no value."""
    example = tf.train.Example()
    for name, value in row.items():
        if name not in types or value == "" or value != value:
            continue
        feature = example.features.feature[name]
        if types[name] == tf.string:
            feature.bytes_list.value.append(str(value).encode())
        elif types[name] == tf.int64:
            feature.int64_list.value.append(int(value))
        else:
            feature.float_list.value.append(float(value))
    serialized: bytes = example.SerializeToString()
    return serialized
