"""A release answers each task in its own shape, and is loaded only if every byte is as registered."""

import asyncio
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from components.shared.errors import StepFailed
from components.shared.files import sha256, write_json
from serving.exchange import Exchange, RequestHead
from serving.refusal import RequestRefused
from serving.release import ServedRelease
from serving.served import Served
from serving.signature import Signature
from serving.v1 import V1Body
from serving.v2 import V2Body
from tests import documents
from tests.serving import tiny

ROWS = list(tiny.SAMPLE)
BODY = json.dumps({"instances": ROWS}).encode()


def tensors(rows: list[dict[str, Any]]) -> bytes:
    types = {"usage": "FP32", "active": "BOOL", "plan": "BYTES"}
    inputs = [
        {"name": name, "datatype": datatype, "shape": [len(rows)], "data": [row[name] for row in rows]}
        for name, datatype in types.items()
    ]
    return json.dumps({"inputs": inputs}).encode()


def answer(release: ServedRelease, body: bytes, protocol: str = "v1") -> bytes:
    """Return what the exchange answers, or raise what it refuses."""
    served = Served()
    served.loaded["1"] = release
    served.activate(release)
    head = RequestHead(protocol, tiny.NAME, None, None, len(body), 0.0)
    read = V1Body if protocol == "v1" else V2Body
    reply = asyncio.run(Exchange(served).answer(head, lambda: read(body)))
    if reply.refusal is not None:
        raise reply.refusal
    assert reply.content is not None
    return reply.content.body


def test_multiclass_answers_a_share_per_class_and_decides_for_the_largest(tmp_path: Path):
    release = ServedRelease(tiny.package(tmp_path / "model", task="multiclass"), tiny.NAME, "1")
    powers = [[math.exp(z), 1.0, math.exp(-z)] for z in map(tiny.logit, ROWS)]
    expected = [[power / sum(row) for power in row] for row in powers]

    predictions = json.loads(answer(release, BODY))["predictions"]
    outputs = {output["name"]: output for output in json.loads(answer(release, tensors(ROWS), "v2"))["outputs"]}

    assert [p["score"] for p in predictions] == [pytest.approx(row, abs=1e-6) for row in expected]
    assert json.loads(answer(release, BODY))["classes"] == ["up", "flat", "down"]
    assert outputs["score"]["parameters"] == {"classes": '["up","flat","down"]'}
    assert [p["decision"] for p in predictions] == ["up", "up", "up"]
    assert outputs["score"]["shape"] == [3, 3]
    assert outputs["score"]["data"] == pytest.approx([share for row in expected for share in row], abs=1e-6)


def test_regression_answers_a_number_and_decides_nothing(tmp_path: Path):
    release = ServedRelease(tiny.package(tmp_path / "model", task="regression"), tiny.NAME, "1")

    predictions = json.loads(answer(release, BODY))["predictions"]
    outputs = json.loads(answer(release, tensors(ROWS), "v2"))["outputs"]

    assert [p["score"] for p in predictions] == pytest.approx([tiny.logit(row) for row in ROWS], abs=1e-6)
    assert [p["decision"] for p in predictions] == [None] * 3
    assert "classes" not in json.loads(answer(release, BODY)) and "parameters" not in outputs[0]
    assert [output["name"] for output in outputs] == ["score", "out_of_vocabulary"]


def test_a_score_that_is_not_finite_is_refused_naming_the_row(tmp_path: Path):
    release = ServedRelease(tiny.package(tmp_path / "model", task="regression", bias=float("inf")), tiny.NAME, "1")

    with pytest.raises(RequestRefused, match="row 0: the model has no finite score"):
        answer(release, BODY)


def test_a_model_of_numbers_only_has_no_text_tensor():
    features = [{"name": "a", "type": "numeric", "missing": True}, {"name": "b", "type": "boolean", "missing": True}]
    facts = documents.model_facts(features=features, numeric=["a", "b"], categorical=[], vocabulary={})

    encoded = Signature(facts).encode({"b": [True, None], "a": [1, 2.5]}, 2)

    assert list(encoded.tensors) == ["numeric"]
    assert encoded.tensors["numeric"].dtype == "float32"
    assert encoded.tensors["numeric"][0].tolist() == [1.0, 1.0]
    assert math.isnan(encoded.tensors["numeric"][1, 1])


def alter(folder: Path) -> None:
    (folder / "model.json").write_text((folder / "model.json").read_text() + " ")


def remove(folder: Path) -> None:
    (folder / "sample.json").unlink()


def add(folder: Path) -> None:
    (folder / "extra.bin").write_bytes(b"x")


def unlist(folder: Path) -> None:
    write_json(folder / "manifest.json", {"files": {}})


def break_manifest(folder: Path) -> None:
    (folder / "manifest.json").write_text("[]")


def remove_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()


@pytest.mark.parametrize(
    "spoil, sentence",
    [
        (alter, r"altered files \['model.json'\]"),
        (remove, r"differ in \['sample.json'\]"),
        (add, r"differ in \['extra.bin'\]"),
        (unlist, "differ in"),
        (break_manifest, "holds a JSON list, expected an object"),
        (remove_manifest, "has no manifest.json"),
    ],
)
def test_a_package_that_differs_from_its_manifest_is_not_loaded(tmp_path: Path, spoil, sentence: str):
    folder = tiny.package(tmp_path / "model")
    spoil(folder)

    with pytest.raises(StepFailed, match=sentence):
        ServedRelease(folder, tiny.NAME, "1")


def test_a_package_sealed_again_after_the_release_is_not_loaded(tmp_path: Path):
    folder = tiny.package(tmp_path / "model")
    released = sha256(folder / "manifest.json")
    alter(folder)
    documents.seal(folder)

    with pytest.raises(StepFailed, match="not the manifest that was released"):
        ServedRelease(folder, tiny.NAME, "1", released)


def test_a_pod_serves_only_the_package_that_the_registry_holds(tmp_path: Path):
    """Every file agrees with its manifest, and yet it is another model: the manifest's own hash tells."""
    registered = sha256(tiny.package(tmp_path / "registered") / "manifest.json")
    other = tiny.package(tmp_path / "other", bias=1.0)

    done = subprocess.run(
        [sys.executable, "-m", "serving", "--model-dir", str(other), "--port=0", f"--manifest-sha256={registered}"],
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == StepFailed.exit_code
    assert "is not the manifest that was released" in done.stderr
