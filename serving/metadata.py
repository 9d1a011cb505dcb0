"""The V2 metadata of a release: one tensor per feature in; score, decision and flags out."""

from typing import Any

from serving import explanation, interval, tensors, v2
from serving.release import ServedRelease


def inputs(release: ServedRelease) -> list[dict[str, Any]]:
    """Describe one tensor per feature."""
    features = release.signature.features.values()
    return [{"name": f.name, "datatype": tensors.DATATYPE[f.type], "shape": [-1]} for f in features]


def outputs(release: ServedRelease) -> list[dict[str, Any]]:
    """Describe the tensors of an answer; the parameters of the scores name the classes."""
    shapes = {"score": [-1, len(release.classes)] if release.task == "multiclass" else [-1]}
    return [
        {
            "name": name,
            "datatype": datatype(name),
            "shape": shapes.get(name, [-1]),
            **v2.parameters(release, name),
        }
        for name in release.outputs
    ]


SERVER = {"name": "perennial", "version": "", "extensions": ["binary_tensor_data"]}
"""The server; of which version it is says nothing to a client, and much to an attacker."""
PLATFORM = "onnx_onnxv1"
"""The protocol's name of a model for ONNX Runtime."""

_DATATYPES = {"score": "FP32"} | dict.fromkeys((*interval.BOUNDS, *explanation.OUTPUTS), "FP64")


def datatype(output: str) -> str:
    """Return the datatype of an output."""
    return _DATATYPES.get(output, "BYTES")


def described(release: ServedRelease, versions: list[str]) -> dict[str, Any]:
    """Return the answer to a request for the metadata over REST.

    Args:
        release: Whose tensors.
        versions: What a request may name.
    """
    return {
        "name": release.name,
        "versions": versions,
        "platform": PLATFORM,
        "inputs": inputs(release),
        "outputs": outputs(release),
    }
