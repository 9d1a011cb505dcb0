"""The release manifest holds only what KServe's own models know: an unknown field is an error."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import kserve
import pytest
import yaml
from kubernetes import client

from components.shared.evidence import Candidate
from components.shared.release.kserve import objects as manifest
from tests.components import made_candidate

TYPES = {"inferenceservice": "V1beta1InferenceService", "servingruntime": "V1alpha1ServingRuntime"}


@pytest.fixture(name="documents")
def _documents(tmp_path: Path) -> dict[str, dict[str, Any]]:
    made = made_candidate.project(serving={"log_url": "http://collector"})
    candidate = Candidate.read(made_candidate.evidence(tmp_path / "candidate", named=made), made_candidate.CODE)
    version: Any = SimpleNamespace(version=3, run_id="run", source="s3://bucket/made/3")
    manifest.write(tmp_path / "release", candidate, version, False, "d" * 64, "5d2f0c9a7b1e")
    return {path.stem: yaml.safe_load(path.read_text()) for path in (tmp_path / "release").glob("*.yaml")}


@pytest.mark.parametrize("name", TYPES)
def test_every_field_is_one_of_kserves_models(documents, name):
    assert unknown(documents[name], TYPES[name], name) == []


def test_a_canary_is_one_of_kserves_models(documents):
    service = documents["inferenceservice"]
    service["spec"]["canary"] = [{"predictor": service["spec"]["predictor"], "trafficPercent": 0}]

    assert unknown(service, TYPES["inferenceservice"], "canary") == []


def test_a_misspelt_field_is_found_at_any_depth(documents):
    documents["inferenceservice"]["spec"]["predictor"]["model"]["storageURI"] = "s3://"
    documents["servingruntime"]["spec"]["containers"][0]["livenessProbe"]["period"] = 3

    assert unknown(documents["inferenceservice"], TYPES["inferenceservice"], "a") == [
        "a.spec.predictor.model.storageURI"
    ]
    assert unknown(documents["servingruntime"], TYPES["servingruntime"], "b") == [
        "b.spec.containers[0].livenessProbe.period"
    ]


def unknown(value: object, kind: str, where: str) -> list[str]:
    """Name what a value has that the model of its kind has not."""
    if kind.startswith("list["):
        assert isinstance(value, list), where
        return [name for n, one in enumerate(value) for name in unknown(one, kind[5:-1], f"{where}[{n}]")]
    model = getattr(kserve, kind, None) or getattr(client, kind, None)
    if model is None:
        plain = {"str": str, "int": int, "bool": bool, "float": float, "object": object}
        expected = dict if kind.startswith("dict(") else plain.get(kind, object)
        assert isinstance(value, expected), f"{where} is no {kind}"
        return []
    assert isinstance(value, dict), where
    by_name = {name: model.openapi_types[attribute] for attribute, name in model.attribute_map.items()}
    return [
        found
        for name, inner in value.items()
        for found in ([f"{where}.{name}"] if name not in by_name else unknown(inner, by_name[name], f"{where}.{name}"))
    ]
