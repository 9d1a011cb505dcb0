"""The Open Inference Protocol over REST: one tensor per feature in; score, decision and flags out.

The binary data extension is understood in requests and in answers: raw tensors follow the JSON, whose length is in the
header ``Inference-Header-Content-Length``.
"""

import itertools
import operator
from collections.abc import Collection, Sequence
from typing import Any

import orjson

from serving import entity, event_time, explanation, interval, json_body, request_id, tensors
from serving.entity import Entity
from serving.exchange import ScoredRequest
from serving.online import answer
from serving.refusal import RequestRefused, short, shown
from serving.release import ServedRelease
from serving.rest_content import RestContent
from serving.signature import Column, Signature

_PLAIN_KEYS = ("name", "datatype", "shape", "data")
_PLAIN = operator.itemgetter(*_PLAIN_KEYS)
_INTEGERS = {name for name in tensors.NUMBERS if "INT" in name}


class V2Body:
    """One request as bytes, answered as bytes.

    Args:
        body: JSON, followed by raw tensors if ``json_length`` is given.
        json_length: Bytes of JSON at the start of the body.
        explains: Whether the answer holds the tensors of an explanation, too.
    """

    def __init__(self, body: bytes, json_length: int | None = None, *, explains: bool = False) -> None:
        self._further = explanation.OUTPUTS if explains else ()
        self._head = body if json_length is None else body[:json_length]
        self._binary = None if json_length is None else body[json_length:]
        self._document = json_body.parse(self._head)

    def request_id(self) -> str | None:
        """Take the id from the field ``id``."""
        return request_id.from_field(self._document.get("id"))

    def entity(self) -> Entity | None:
        """Take the entity from the request's parameter ``entity``."""
        return entity.from_json(self._parameter("entity"))

    def event_time_us(self) -> int | None:
        """Take the event time from the request's parameter ``event_time``."""
        return event_time.from_json(self._parameter("event_time"))

    def interval(self) -> float | None:
        """Take the level of intervals or sets from the request's parameter ``interval``."""
        return interval.from_json(self._parameter("interval"))

    def shows_features(self) -> bool:
        """Take whether the answer must hold the features from the request's parameter."""
        return answer.from_json(self._parameter(answer.ASKED))

    def features(self) -> Collection[str]:
        """Name the tensors."""
        inputs = self._document.get("inputs")
        tensors = inputs if type(inputs) is list else ()
        return [name for tensor in tensors if type(tensor) is dict and type(name := tensor.get("name")) is str]

    def columns(self, release: ServedRelease, sent: Signature | None = None) -> tuple[dict[str, Column], int]:
        """Turn the tensors into columns, and check which outputs the answer must hold."""
        signature = sent or release.signature
        plain = _plain(self._document, signature) if self._binary is None else None
        if plain is None and not signature.names:
            # Whatever tensor there is has no feature of the model.
            _inputs(self._document, signature)
            signature.check_rows(rows := entity.count(self.entity()))
            plain = {}, rows
        columns, rows = plain or _columns(_inputs(self._document, signature), signature, self._binary)
        self._check_outputs(release, looks_up=sent is not None)
        json_body.check_duplicates(self._head, self._keys())
        return columns, rows

    def encode(self, scored: ScoredRequest) -> RestContent:
        """Write the answer as JSON, and the raw tensors behind it."""
        document, raw = self._described(scored)
        head: bytes = orjson.dumps(document)
        return RestContent(head + b"".join(raw), len(head)) if raw else RestContent(head)

    def _keys(self) -> int:
        """Return how many keys the document has."""
        parts = [self._document, *self._document["inputs"], *(self._document.get("outputs") or ())]
        return sum(map(len, parts)) + sum([len(part["parameters"] or ()) for part in parts if "parameters" in part])

    def _parameter(self, name: str) -> Any:
        parameters = self._document.get("parameters")
        if parameters is None:
            return None
        if type(parameters) is not dict:
            raise RequestRefused(400, "'parameters' is not an object.", "json")
        return parameters.get(name)

    def _described(self, scored: ScoredRequest) -> tuple[dict[str, Any], list[bytes]]:
        """Describe the answer's tensors; return those that were requested as raw bytes beside it."""
        requested = self._document.get("outputs")
        names = {output["name"]: output.get("parameters") or {} for output in requested} if requested else None
        all_raw = self._parameter("binary_data_output")
        raw: list[bytes] = []
        written = []
        described = outputs(scored)
        if scored.contributions is not None:
            described |= explanation.tensors(scored)
        if scored.regions is not None:
            described |= interval.tensors(scored)
        if scored.request.looked_up is not None or self.shows_features():
            described |= answer.tensors(scored, shows_features=self.shows_features())
        for name, (datatype, shape, data) in described.items():
            if names is not None and name not in names:
                continue
            output = {"name": name, "datatype": datatype, "shape": shape, **parameters(scored.release, name)}
            if names[name].get("binary_data", all_raw) if names else all_raw:
                raw.append(tensors.to_raw(datatype, data))
                output["parameters"] = output.get("parameters", {}) | {"binary_data_size": len(raw[-1])}
            else:
                output["data"] = data
            written.append(output)
        document = {
            "model_name": scored.release.name,
            "model_version": scored.release.version,
            "id": scored.request.request_id,
            "outputs": written,
        }
        return document, raw

    def _check_outputs(self, release: ServedRelease, *, looks_up: bool) -> None:
        if type(self._parameter("binary_data_output")) not in (bool, type(None)):
            raise RequestRefused(400, "parameter 'binary_data_output' is neither true nor false.", "type")
        requested = self._document.get("outputs")
        if requested is None:
            return
        if type(requested) is not list or not all(
            type(output) is dict and type(output.get("name")) is str for output in requested
        ):
            raise RequestRefused(400, "'outputs' is not a list of objects with a 'name'.", "json")
        for output in requested:
            if type(output.get("parameters", {})) not in (dict, type(None)):
                raise RequestRefused(400, f"output {short(output['name'])}: 'parameters' is not an object.", "json")
            if type((output.get("parameters") or {}).get("binary_data", False)) is not bool:
                raise RequestRefused(
                    400, f"output {short(output['name'])}: 'binary_data' is neither true nor false.", "type"
                )
        regions = () if self._parameter("interval") is None else interval.outputs(release.task)
        served = answer.outputs(looks_up=looks_up, shows_features=self.shows_features())
        check_outputs([output["name"] for output in requested], (*release.outputs, *self._further, *regions, *served))


def check_outputs(names: Sequence[str], known: Sequence[str]) -> None:
    """Refuse a requested output that an answer does not have."""
    for name in names:
        if name not in known:
            raise RequestRefused(
                400, f"output {short(name)} is unknown; expected one of {sorted(known)}.", "unknown_output"
            )


def outputs(scored: ScoredRequest) -> dict[str, tuple[str, list[int], list[Any]]]:
    """Return datatype, shape and flat values of each output."""
    rows = scored.request.rows
    described: dict[str, tuple[str, list[int], list[Any]]] = {
        "score": ("FP32", list(scored.scores.shape), scored.scores.ravel().tolist())
    }
    if scored.answered is not None:
        described["decision"] = ("BYTES", [rows], list(map(scored.release.texts.__getitem__, scored.answered)))
    unseen = scored.encoded.unseen
    flags = [_listed(names) for names in scored.encoded.unseen_by_row()] if unseen else ["[]"] * rows
    described["out_of_vocabulary"] = ("BYTES", [rows], flags)
    return described


def parameters(release: ServedRelease, output: str) -> dict[str, Any]:
    """Return the parameters of an output: the classes, of the scores; the features, of contributions."""
    if output in explanation.BY_FEATURE:
        return {"parameters": {"features": orjson.dumps(release.signature.ordered).decode()}}
    if output != "score" or not release.label_parameters:
        return {}
    return {"parameters": release.label_parameters}


def _plain(document: dict[str, Any], signature: Signature) -> tuple[dict[str, Column], int] | None:
    """Return the columns of the commonest request, in one pass: a tensor of shape [rows] per feature, and no more.

    Every other request, also every wrong one, is None and needs a closer look.
    """
    inputs: Any = document.get("inputs")
    plain = signature.plain_datatypes
    try:
        names, datatypes, shapes, values = zip(*map(_PLAIN, inputs), strict=True)
        rows = len(values[0])
        is_plain = (
            set(map(len, inputs)) == {len(_PLAIN_KEYS)}
            and set(map(type, values)) == {list}
            and set(map(len, values)) == {rows}
            # A list of floats equals one of integers.
            and set(map(type, shapes)) == {list}
            and set(map(type, itertools.chain.from_iterable(shapes))) == {int}
            and shapes.count([rows]) == len(shapes)
            and all(map(operator.contains, map(plain.__getitem__, names), datatypes))
        )
        columns = dict(zip(names, values, strict=True))
    except (KeyError, TypeError, ValueError):
        return None
    if not is_plain or len(columns) != len(inputs) or columns.keys() != signature.names:
        return None
    signature.check_rows(rows)
    return columns, rows


def _inputs(document: dict[str, Any], signature: Signature) -> dict[str, dict[str, Any]]:
    """Return the tensors by name; exactly the signature's features."""
    if type(document.get("inputs")) is not list:
        raise RequestRefused(400, "the body has no list 'inputs'; expected one tensor per feature.", "json")
    inputs: dict[str, dict[str, Any]] = {}
    for tensor in document["inputs"]:
        if type(tensor) is not dict or type(tensor.get("name")) is not str:
            raise RequestRefused(400, "an input is not an object with a 'name'.", "json")
        if tensor["name"] in inputs:
            raise RequestRefused(400, f"feature {short(tensor['name'])} is given twice.", "json")
        if type(tensor.get("parameters", {})) not in (dict, type(None)):
            raise RequestRefused(400, f"feature {short(tensor['name'])}: 'parameters' is not an object.", "json")
        inputs[tensor["name"]] = tensor
    if inputs.keys() != signature.names:
        signature.check_names(inputs, "")
    return inputs


def _columns(
    inputs: dict[str, dict[str, Any]], signature: Signature, binary: bytes | None
) -> tuple[dict[str, Column], int]:
    counts = {}
    for name, tensor in inputs.items():
        tensors.check_datatype(signature, name, tensor.get("datatype"))
        if type(tensor.get("shape")) is not list:
            raise RequestRefused(400, f"feature {short(name)} has no 'shape'; expected [rows].", "shape")
        counts[name] = tensors.rows_of(name, tensor["shape"])
    rows = tensors.common_rows(counts)
    signature.check_rows(rows)
    columns: dict[str, Column] = {}
    offset = 0
    for name, tensor in inputs.items():
        parameters = tensor.get("parameters") or {}
        if "binary_data_size" in parameters:
            raw, offset = _raw(name, parameters["binary_data_size"], binary, offset)
            columns[name] = tensors.from_raw(name, tensor["datatype"], raw, rows)
        else:
            columns[name] = _values(name, tensor, rows)
        if "missing" in parameters:
            columns[name] = tensors.with_missing(name, columns[name], parameters["missing"])
    if binary is not None and offset != len(binary):
        raise RequestRefused(400, f"{len(binary) - offset} bytes follow the last tensor; expected none.", "shape")
    return columns, rows


def _values(name: str, tensor: dict[str, Any], rows: int) -> list[Any]:
    data = tensor.get("data")
    if type(data) is not list:
        raise RequestRefused(400, f"feature {short(name)} has no list 'data'.", "json")
    if len(tensor["shape"]) == 2 and all(type(row) is list for row in data):
        data = list(itertools.chain.from_iterable(data))
    tensors.check_length(name, len(data), rows)
    if tensor["datatype"] in _INTEGERS and float in set(map(type, data)):
        row = next(i for i, value in enumerate(data) if type(value) is float)
        raise RequestRefused(
            400, f"feature {short(name)}, row {row}: {shown(data[row])} is not {tensor['datatype']}.", "type"
        )
    return data


def _raw(name: str, size: Any, binary: bytes | None, offset: int) -> tuple[bytes, int]:
    if binary is None or type(size) is not int or not 0 <= size <= len(binary) - offset:
        raise RequestRefused(
            400,
            f"feature {short(name)}: 'binary_data_size' is {shown(size)}; the body has "
            f"{0 if binary is None else len(binary) - offset} bytes of raw tensors left.",
            "shape",
        )
    return binary[offset : offset + size], offset + size


def _listed(names: list[str]) -> str:
    return orjson.dumps(names).decode() if names else "[]"
