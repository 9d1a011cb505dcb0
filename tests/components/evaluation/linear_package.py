"""A model package with known weights, so that a test knows what evaluation has to find.

The model is linear in the numbers (missing counts as 0) and in one number per category (unknown counts as 0).
"""

from pathlib import Path

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
from onnx import TensorProto, helper, numpy_helper

from tests import documents


def write_package(
    folder: Path,
    *,
    task: str,
    numeric: dict[str, list[float]],
    categorical: dict[str, dict[str, float]] | None = None,
    bias: list[float] | None = None,
    classes: list[str] | None = None,
    threshold: float | None = None,
    missing: bool = True,
    seen: pa.Table | None = None,
) -> Path:
    """Write a package whose logits are a weighted sum; ``numeric`` maps a name to one weight per output."""
    categorical = categorical or {}
    outputs = len(next(iter(numeric.values())))
    weights = np.array([*numeric.values(), *([[1.0] * outputs] * len(categorical))], dtype=np.float32)
    folder.mkdir(parents=True)
    model = _model(len(numeric), list(categorical.values()), weights, np.array(bias or [0.0] * outputs), task)
    onnx.save(model, folder / "model.onnx")
    names = [*numeric, *categorical]
    kinds = ["numeric"] * len(numeric) + ["categorical"] * len(categorical)
    documents.model_facts(
        task=task,
        label="label",
        entity="id",
        classes=classes,
        positive=classes[1] if task == "binary" and classes else None,
        threshold=threshold,
        features=[{"name": n, "type": kind, "missing": missing} for n, kind in zip(names, kinds, strict=True)],
        numeric=list(numeric),
        categorical=list(categorical),
        vocabulary={name: sorted(values) for name, values in categorical.items()},
        ranges=dict.fromkeys(numeric, (-3.0, 3.0)),
    ).write(folder)
    nothing = pa.table({"id": pa.array([], pa.string()), "at": pa.array([], pa.timestamp("us", "UTC"))})
    pq.write_table(nothing if seen is None else seen, folder / "seen.parquet")
    documents.seal(folder)
    return folder


def _model(
    numbers: int, tables: list[dict[str, float]], weights: np.ndarray, bias: np.ndarray, task: str
) -> onnx.ModelProto:
    node, code = helper.make_node, "ai.onnx.ml"
    nodes = [node("IsNaN", ["numeric"], ["gaps"]), node("Where", ["gaps", "zero", "numeric"], ["filled"])]
    columns = ["filled"]
    for i, table in enumerate(tables):
        nodes.append(node("Gather", ["categorical", f"at{i}"], [f"text{i}"], axis=1))
        known = {"keys_strings": list(table), "values_floats": list(table.values()), "default_float": 0.0}
        nodes.append(node("LabelEncoder", [f"text{i}"], [f"code{i}"], domain=code, **known))
        columns.append(f"code{i}")
    answer = {"binary": "Sigmoid", "multiclass": "Softmax", "regression": "Identity"}[task]
    shaped = (
        node("Identity", ["answer"], ["score"])
        if task == "multiclass"
        else node("Reshape", ["answer", "flat"], ["score"])
    )
    nodes += [
        node("Concat", columns, ["all"], axis=1),
        node("MatMul", ["all", "weights"], ["product"]),
        node("Add", ["product", "bias"], ["sum"]),
        node(answer, ["sum"], ["answer"]),
        shaped,
    ]
    constants = {
        "zero": np.zeros(1, np.float32),
        "weights": weights,
        "bias": bias.astype(np.float32),
        "flat": np.array([-1]),
    }
    constants |= {f"at{i}": np.array([i]) for i in range(len(tables))}
    inputs = [helper.make_tensor_value_info("numeric", TensorProto.FLOAT, ["n", numbers])]
    if tables:
        inputs.append(helper.make_tensor_value_info("categorical", TensorProto.STRING, ["n", len(tables)]))
    shape = ["n", weights.shape[1]] if task == "multiclass" else ["n"]
    output = helper.make_tensor_value_info("score", TensorProto.FLOAT, shape)
    tensors = [numpy_helper.from_array(values, name) for name, values in constants.items()]
    graph = helper.make_graph(nodes, "linear", inputs, [output], tensors)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(code, 2)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)
