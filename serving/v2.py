"""The Open Inference Protocol over REST: one tensor per feature in; score, decision and flags out.

The binary data extension is understood in requests (``Inference-Header-Content-Length``); answers are JSON.
"""

import itertools
import uuid
from typing import Any

import orjson

from serving import json_body, tensors
from serving.refusal import Refused, short, shown
from serving.release import Answer, Release
from serving.signature import Column

_INTEGERS = {name for name in tensors.NUMBERS if "INT" in name}


def respond(release: Release, body: bytes, json_length: int | None = None) -> tuple[bytes, Answer]:
    """Answer one request body.

    Args:
        release: Who answers.
        body: JSON, followed by raw tensors if ``json_length`` is given.
        json_length: Bytes of JSON at the start of the body.
    """
    head = body if json_length is None else body[:json_length]
    document = json_body.parse(head)
    columns, rows = _columns(release, document, None if json_length is None else body[json_length:])
    wanted = _wanted(document)
    parts = [document, *document["inputs"], *(document.get("outputs") or [])]
    json_body.check_duplicates(head, sum(len(part) + len(part.get("parameters") or ()) for part in parts))
    answer = release.answer(columns, rows)
    return orjson.dumps(_described(release, answer, document.get("id") or str(uuid.uuid4()), wanted)), answer


def outputs(answer: Answer) -> dict[str, tuple[str, list[int], list[Any]]]:
    """Return datatype, shape and flat values of each output."""
    rows = len(answer.unseen)
    described: dict[str, tuple[str, list[int], list[Any]]] = {
        "score": ("FP32", list(answer.scores.shape), answer.scores.ravel().tolist())
    }
    if answer.decisions is not None:
        described["decision"] = ("BYTES", [rows], [_text(decision) for decision in answer.decisions])
    described["out_of_vocabulary"] = ("BYTES", [rows], [_listed(names) for names in answer.unseen])
    return described


def _columns(release: Release, document: dict[str, Any], binary: bytes | None) -> tuple[dict[str, Column], int]:
    if type(document.get("inputs")) is not list:
        raise Refused(400, "The body has no list 'inputs'; expected one tensor per feature.", "json")
    signature = release.signature
    inputs: dict[str, dict[str, Any]] = {}
    for tensor in document["inputs"]:
        if type(tensor) is not dict or type(tensor.get("name")) is not str:
            raise Refused(400, "An input is not an object with a 'name'.", "json")
        if tensor["name"] in inputs:
            raise Refused(400, f"Feature {short(tensor['name'])} is given twice.", "json")
        if type(tensor.get("parameters", {})) not in (dict, type(None)):
            raise Refused(400, f"Feature {short(tensor['name'])}: 'parameters' is not an object.", "json")
        inputs[tensor["name"]] = tensor
    if inputs.keys() != signature.names:
        signature.check_names(inputs, "")
    counts = {}
    for name, tensor in inputs.items():
        tensors.check_datatype(signature, name, tensor.get("datatype"))
        if type(tensor.get("shape")) is not list:
            raise Refused(400, f"Feature {short(name)} has no 'shape'; expected [rows].", "shape")
        counts[name] = tensors.rows_of(name, tensor["shape"])
    rows = tensors.one_count(counts)
    signature.check_rows(rows)
    columns: dict[str, Column] = {}
    place = 0
    for name, tensor in inputs.items():
        parameters = tensor.get("parameters") or {}
        if "binary_data_size" in parameters:
            raw, place = _raw(name, parameters["binary_data_size"], binary, place)
            columns[name] = tensors.from_raw(name, tensor["datatype"], raw, rows)
        else:
            columns[name] = _values(name, tensor, rows)
        if "missing" in parameters:
            columns[name] = tensors.with_missing(name, columns[name], parameters["missing"])
    if binary is not None and place != len(binary):
        raise Refused(400, f"{len(binary) - place} bytes follow the last tensor.", "shape")
    return columns, rows


def _values(name: str, tensor: dict[str, Any], rows: int) -> list[Any]:
    data = tensor.get("data")
    if type(data) is not list:
        raise Refused(400, f"Feature {short(name)} has no list 'data'.", "json")
    if len(tensor["shape"]) == 2 and all(type(row) is list for row in data):
        data = list(itertools.chain.from_iterable(data))
    tensors.check_length(name, len(data), rows)
    if tensor["datatype"] in _INTEGERS and float in set(map(type, data)):
        row = next(i for i, value in enumerate(data) if type(value) is float)
        raise Refused(400, f"Feature {short(name)}, row {row}: {shown(data[row])} is not {tensor['datatype']}.", "type")
    return data


def _raw(name: str, size: Any, binary: bytes | None, place: int) -> tuple[bytes, int]:
    if binary is None or type(size) is not int or not 0 <= size <= len(binary) - place:
        raise Refused(
            400, f"Feature {short(name)}: 'binary_data_size' is {shown(size)}, which the body lacks.", "shape"
        )
    return binary[place : place + size], place + size


def _wanted(document: dict[str, Any]) -> set[str] | None:
    if type(document.get("id", "")) not in (str, type(None)):
        raise Refused(400, f"'id' is {shown(document['id'])}; expected text.", "json")
    asked = document.get("outputs") or []
    if type(asked) is not list or not all(type(one) is dict and type(one.get("name")) is str for one in asked):
        raise Refused(400, "'outputs' is not a list of objects with a 'name'.", "json")
    for part in (document, *asked):
        if type(part.get("parameters", {})) not in (dict, type(None)):
            raise Refused(400, "'parameters' is not an object.", "json")
    return {one["name"] for one in asked} if asked else None


def _described(release: Release, answer: Answer, request_id: str, wanted: set[str] | None) -> dict[str, Any]:
    made = outputs(answer)
    if wanted is not None and (unknown := sorted(wanted - made.keys())):
        raise Refused(400, f"Output {short(unknown[0])} is unknown; expected one of {sorted(made)}.", "unknown_output")
    return {
        "model_name": release.name,
        "model_version": answer.version,
        "id": request_id,
        "outputs": [
            {"name": name, "datatype": datatype, "shape": shape, "data": data}
            for name, (datatype, shape, data) in made.items()
            if wanted is None or name in wanted
        ],
    }


def _listed(names: list[str]) -> str:
    return orjson.dumps(names).decode() if names else "[]"


def _text(decision: Any) -> str:
    return decision if isinstance(decision, str) else orjson.dumps(decision).decode()
