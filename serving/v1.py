"""KServe's V1 protocol: ``{"instances": [{feature: value}, ...]}`` in, ``{"predictions": [...]}`` out."""

from typing import Any

import orjson

from serving import json_body
from serving.refusal import Refused, short
from serving.release import Answer, Release


def respond(release: Release, body: bytes) -> tuple[bytes, Answer]:
    """Answer one request body."""
    document = json_body.parse(body)
    answer = _answer(release, document)
    instances = document["instances"]
    json_body.check_duplicates(body, len(document) + len(instances) * len(release.signature.names))
    return orjson.dumps(_described(release, answer)), answer


def predict(release: Release, document: dict[str, Any]) -> dict[str, Any]:
    """Answer one parsed document."""
    return _described(release, _answer(release, document))


def _answer(release: Release, document: dict[str, Any]) -> Answer:
    if "instances" not in document:
        raise Refused(400, "The body has no 'instances'; expected {\"instances\": [{feature: value}]}.", "json")
    if unknown := sorted(document.keys() - {"instances", "signature_name"}):
        raise Refused(400, f"The body holds {short(unknown[0])}; expected 'instances' only.", "json")
    instances = document["instances"]
    if type(instances) is not list:
        raise Refused(400, "'instances' is not a list; expected one object of features per row.", "json")
    signature = release.signature
    signature.check_rows(len(instances))
    for row, instance in enumerate(instances):
        if type(instance) is not dict:
            raise Refused(400, f"'instances', row {row}, is not an object of features.", "json")
        if instance.keys() != signature.names:
            signature.check_names(instance, f"Row {row}: ")
    return release.answer({name: [row[name] for row in instances] for name in signature.names}, len(instances))


def _described(release: Release, answer: Answer) -> dict[str, Any]:
    decisions = answer.decisions or [None] * len(answer.unseen)
    rows = zip(answer.scores.tolist(), decisions, answer.unseen, strict=True)
    return {
        "model_name": release.name,
        "model_version": answer.version,
        "predictions": [
            {"score": score, "decision": decision, "out_of_vocabulary": unseen} for score, decision, unseen in rows
        ],
    }
