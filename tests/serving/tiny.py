"""A model package small enough to check by hand: a logistic score of one number, one switch and one category.

``python -m tests.serving.tiny FOLDER [BIAS]`` writes one, for test groups whose virtualenv has no onnx.
"""

import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from components.shared.documents.release import RegisteredVersion
from components.shared.files import sha256
from components.shared.release import endpoint_folder, routing
from components.shared.release.routing import Routing
from tests import documents

NAME = "tiny"
PLANS = {"basic": -1.0, "plus": 1.0, "Prämie": 2.0, "": 0.25}
UNSEEN = 0.5
SAMPLE: tuple[dict[str, Any], ...] = (
    {"usage": 1.5, "active": True, "plan": "basic"},
    {"usage": None, "active": False, "plan": None},
    {"usage": -20.0, "active": True, "plan": "Prämie"},
)
REFERENCE = (((0.5, 1.0), (None, 0.0), (10.0, 1.0)), (("basic",), ("",), ("plus",)))
THRESHOLD = 0.6
_GROUP = {"rows": 99, "ranks": range(1, 100), "scores": [rank / 100 for rank in range(1, 100)]}
CONFORMAL = {"edges": (), "groups": (_GROUP,)}


def score(row: dict[str, Any], bias: float = 0.0) -> float:
    """Return what the binary model must answer."""
    return 1 / (1 + math.exp(-logit(row) - bias))


def logit(row: dict[str, Any]) -> float:
    """Return the sum below the score."""
    return 0.1 * (row["usage"] or 0.0) + 2.0 * row["active"] + PLANS.get(row["plan"] or "", UNSEEN)


Fault = Literal["nan", "constant", "slow", "units"]


def package(
    folder: Path,
    bias: float = 0.0,
    request_rows: int = 300,
    request_mib: float = 0.25,
    task: str = "binary",
    fault: Fault | None = None,
    *,
    has_regions: bool = True,
    views: Sequence[dict[str, Any]] = (),
) -> Path:
    """Write the package: 'usage' and 'plan' may be missing, 'active' may not.

    A fault does not show on the package's sample: usage above 50 scores NaN ("nan"), everything scores almost the same
    ("constant"), each request takes many milliseconds ("slow"), or usage is taken for a hundredth of it ("units").
    The three classes of a multiclass model have the logits z, 0 and -z; a regression answers z. Its nonconformities are
    0.01, 0.02 and so on to 0.99, if it ``has_regions``. Its features can be looked up in ``views``.
    """
    folder.mkdir(parents=True)
    onnx.save(_graph(bias, task, fault), folder / "model.onnx")
    classes = {"binary": ["no", "yes"], "multiclass": ["up", "flat", "down"], "regression": None}[task]
    documents.model_facts(
        name=NAME,
        task=task,
        classes=classes,
        positive="yes" if task == "binary" else None,
        threshold=THRESHOLD if task == "binary" else None,
        features=[
            {"name": "usage", "type": "numeric", "missing": True},
            {"name": "active", "type": "boolean", "missing": False},
            {"name": "plan", "type": "categorical", "missing": True},
        ],
        numeric=["usage", "active"],
        categorical=["plan"],
        vocabulary={"plan": [plan for plan in PLANS if plan]},
        ranges={"usage": (-20.0, 1.5), "active": (0.0, 1.0)},
        limits={"request_rows": request_rows, "request_mib": request_mib},
        conformal=CONFORMAL if has_regions else None,
    ).write(folder)
    expected = [score(row, bias) for row in SAMPLE]
    if fault in ("constant", "units"):
        # Training had the same fault, so it recorded the same scores.
        factor = {"constant": 0.0, "units": 0.01}[fault]
        logits = [0.1 * factor * (row["usage"] or 0.0) + logit({**row, "usage": None}) for row in SAMPLE]
        expected = [1 / (1 + math.exp(-z)) for z in ([0.0] * 3 if fault == "constant" else logits)]
    documents.package_sample(rows=SAMPLE, scores=expected).write(folder)
    documents.package_reference(numeric=REFERENCE[0], categorical=REFERENCE[1]).write(folder)
    if views:
        documents.feature_views(views=views).write(folder)
    documents.seal(folder)
    return folder


def release(folder: Path, model: Path, version: str) -> Path:
    """Write a release's manifests; JSON is YAML."""
    predictor = {"name": f"v{version}", "model": {"modelFormat": {"name": "perennial"}, "storageUri": model.as_uri()}}
    service = {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": NAME},
        "spec": {"predictor": predictor},
    }
    folder.mkdir(parents=True)
    (folder / "inferenceservice.yaml").write_text(json.dumps(service))
    manifest = sha256(model / "manifest.json")
    RegisteredVersion(name=NAME, version=version, storage_uri=model.as_uri(), manifest_sha256=manifest).write(folder)
    return folder


def released(root: Path, **limits: Any) -> Path:
    """Return an endpoint on which version 1 is active."""
    endpoint = root / "endpoint"
    model = package(root / "model", **limits)
    endpoint_folder.install(release(root / "release", model, "1"), endpoint, "1")
    routing.write(endpoint, Routing.to("1"))
    return endpoint


def _graph(bias: float, task: str, fault: Fault | None = None) -> onnx.ModelProto:
    weight = 0.001 if fault == "units" else 0.1
    constants = {"zero": np.float32(0), "weights": np.array([[weight], [2.0]], np.float32), "bias": np.float32(bias)}
    words = [plan for plan in PLANS]
    nodes = [
        helper.make_node("IsNaN", ["numeric"], ["gaps"]),
        helper.make_node("Where", ["gaps", "zero", "numeric"], ["filled"]),
        helper.make_node("MatMul", ["filled", "weights"], ["weighted"]),
        helper.make_node(
            "LabelEncoder",
            ["categorical"],
            ["plans"],
            domain="ai.onnx.ml",
            keys_strings=words,
            values_floats=[PLANS[word] for word in words],
            default_float=UNSEEN,
        ),
        helper.make_node("Add", ["weighted", "plans"], ["sum"]),
        helper.make_node("Add", ["sum", "bias"], ["logit" if fault is None else "sound"]),
        *_faults(fault, constants),
        *_ends(task),
    ]
    weights = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    weights.append(numpy_helper.from_array(np.array([1], np.int64), "axis"))
    graph = helper.make_graph(
        nodes,
        NAME,
        [
            helper.make_tensor_value_info("numeric", TensorProto.FLOAT, ["n", 2]),
            helper.make_tensor_value_info("categorical", TensorProto.STRING, ["n", 1]),
        ],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3] if task == "multiclass" else ["n"])
            for name in ("score", "margin")
        ],
        weights,
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def _faults(fault: Fault | None, constants: dict[str, Any]) -> list[onnx.NodeProto]:
    """Turn the logit that a sound model has into that of a faulty one."""
    match fault:
        case "nan":
            # The logarithm of a negative number: 50 less the usage.
            constants |= {"most": np.float32(50), "first": np.array([0], np.int64)}
            return [
                helper.make_node("Gather", ["filled", "first"], ["usages"], axis=1),
                helper.make_node("Sub", ["most", "usages"], ["below"]),
                helper.make_node("Log", ["below"], ["undefined"]),
                helper.make_node("Mul", ["undefined", "zero"], ["nothing"]),
                helper.make_node("Add", ["sound", "nothing"], ["logit"]),
            ]
        case "constant":
            return [helper.make_node("Mul", ["sound", "zero"], ["logit"])]
        case "slow":
            constants["square"] = np.full((400, 400), 1e-3, np.float32)
            return [
                # What depends on no input would be computed once, when the model is loaded.
                helper.make_node("ReduceMean", ["sound"], ["level"], keepdims=0),
                helper.make_node("Mul", ["level", "zero"], ["none"]),
                helper.make_node("Add", ["square", "none"], ["power0"]),
                *(helper.make_node("MatMul", [f"power{n}", "square"], [f"power{n + 1}"]) for n in range(4)),
                helper.make_node("ReduceMean", ["power4"], ["mean"], keepdims=0),
                helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
                helper.make_node("Add", ["sound", "nothing"], ["logit"]),
            ]
        case "units":
            return [helper.make_node("Identity", ["sound"], ["logit"])]
        case None:
            return []


def _ends(task: str) -> list[onnx.NodeProto]:
    """Turn the logit (n, 1) into the score."""
    if task == "multiclass":
        return [
            helper.make_node("Neg", ["logit"], ["down"]),
            helper.make_node("Sub", ["logit", "logit"], ["flat"]),
            helper.make_node("Concat", ["logit", "flat", "down"], ["margin"], axis=1),
            helper.make_node("Softmax", ["margin"], ["score"], axis=1),
        ]
    squeezed = helper.make_node("Squeeze", ["logit", "axis"], ["margin"])
    return [squeezed, helper.make_node("Identity" if task == "regression" else "Sigmoid", ["margin"], ["score"])]


if __name__ == "__main__":
    package(Path(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 0.0)
