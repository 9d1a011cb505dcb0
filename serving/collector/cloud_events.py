"""Read what KServe's own logger sends of other people's models, and make log lines of it.

The logger of an InferenceService (``spec.predictor.logger``) posts two CloudEvents per request, in any order, both with
the id of the request: one with its body, one with that of the response. They name no version of the model, and no time
that can be trusted, so that a row's release is "unknown" and its time that at which the first of them came.
"""

import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from components.shared.errors import InputError
from components.shared.inference_log.segments import LoggedFeature, SegmentHeader

RELEASE = "unknown"
_TYPES = {
    "org.kubeflow.serving.inference.request": "request",
    "org.kubeflow.serving.inference.response": "response",
}
_WAIT_NS = 120 * 10**9
_MOST_WAITING = 10_000


@dataclass(frozen=True)
class InferenceEvent:
    """Half of an inference: the body of its request, or that of its response."""

    id: str
    kind: str
    model: str
    at_ns: int
    body: bytes

    @classmethod
    def parse(cls, headers: Mapping[str, str], body: bytes, at_ns: int) -> "InferenceEvent":
        """Read a CloudEvent in binary mode, whose attributes are HTTP headers.

        Raises:
            InputError: If it is none, or not of an inference.
        """
        kind = _TYPES.get(headers.get("ce-type", ""))
        event_id, model = headers.get("ce-id"), headers.get("ce-inferenceservicename")
        if kind is None or not event_id or not model:
            raise InputError(
                f"this is no event of KServe's logger: its ce-type is {headers.get('ce-type')!r}, ce-id {event_id!r} "
                f"and ce-inferenceservicename {model!r}; expected one of {sorted(_TYPES)} with both."
            )
        return cls(event_id, kind, model, at_ns, body)


@dataclass(frozen=True)
class Inference:
    """A line of the log and the header of the segments that it belongs to."""

    header: SegmentHeader
    line: bytes


class Pairing:
    """Joins the halves of inferences; one whose other half does not come within two minutes is dropped."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[tuple[str, str, str], InferenceEvent] = OrderedDict()
        self.unpaired = 0

    def add(self, event: InferenceEvent) -> Inference | None:
        """Take a half; return the inference once both are there.

        Raises:
            InputError: If the bodies are no V1 or V2 request and response.
        """
        self._expire(event.at_ns)
        other = "response" if event.kind == "request" else "request"
        found = self._waiting.pop((event.model, event.id, other), None)
        if found is None:
            self._waiting[event.model, event.id, event.kind] = event
            return None
        request, response = (event, found) if event.kind == "request" else (found, event)
        return inference(request, response)

    def _expire(self, now_ns: int) -> None:
        while self._waiting:
            oldest = next(iter(self._waiting.values()))
            if now_ns - oldest.at_ns <= _WAIT_NS and len(self._waiting) < _MOST_WAITING:
                return
            self._waiting.popitem(last=False)
            self.unpaired += 1


def inference(request: InferenceEvent, response: InferenceEvent) -> Inference:
    """Make a line of both bodies.

    Raises:
        InputError: If they are no V1 or V2 request and response, or differ in their number of rows.
    """
    asked, answered = _document(request), _document(response)
    is_v1 = "instances" in asked
    columns = _instances(asked["instances"]) if is_v1 else _tensors(asked.get("inputs"), "inputs")
    answers = answered.get("predictions") if is_v1 else _answers(answered)
    if not isinstance(answers, list):
        raise InputError(f"the response {request.id} has no predictions; expected a list with one per row.")
    rows = {len(values) for values in columns.values()} | {len(answers)}
    if len(rows) != 1:
        raise InputError(f"the request {request.id} and its response differ in their rows: {sorted(rows)}.")
    features = tuple(LoggedFeature(name, _type(values)) for name, values in columns.items())
    score, decision, classes = _scores(answers)
    content: dict[str, Any] = {
        "id": request.id,
        "at_ns": min(request.at_ns, response.at_ns),
        "protocol": "v1" if is_v1 else "v2",
        "rows": rows.pop(),
        "latency_us": max(0, response.at_ns - request.at_ns) / 1000,
        "received": {
            feature.name: [_cast(value, feature.type) for value in columns[feature.name]] for feature in features
        },
        "encoded": "",
        "score": score,
    }
    if decision is not None:
        content["decision"] = decision
    header = SegmentHeader(request.model, RELEASE, features, (), classes)
    return Inference(header, json.dumps(content).encode() + b"\n")


def _document(event: InferenceEvent) -> dict[str, Any]:
    try:
        document = json.loads(event.body)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise InputError(
            f"the {event.kind} {event.id} of {event.model!r} is no JSON object; other bodies are not read."
        )
    return document


def _instances(instances: Any) -> dict[str, list[Any]]:
    """Turn the rows of a V1 request into columns; rows without names have them by position."""
    if not isinstance(instances, list) or not instances:
        raise InputError("'instances' is empty or no list; expected one entry per row.")
    rows = [
        row if isinstance(row, dict) else dict(_positions(row if isinstance(row, list) else [row])) for row in instances
    ]
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def _tensors(tensors: Any, key: str) -> dict[str, list[Any]]:
    """Turn the tensors of a V2 message into columns; a matrix has one per position."""
    if not isinstance(tensors, list) or not tensors:
        raise InputError(f"there is no {key!r} with tensors; expected a V1 or V2 message.")
    columns: dict[str, list[Any]] = {}
    for tensor in tensors:
        values, shape = tensor.get("data"), tensor.get("shape", [])
        if not isinstance(values, list) or not shape:
            raise InputError(f"the tensor {tensor.get('name')!r} of {key!r} has no data in JSON; binary is not read.")
        flat = [one for row in values for one in row] if isinstance(values[0], list) else values
        width = max(1, len(flat) // max(1, shape[0]))
        if width == 1:
            columns[tensor["name"]] = flat
        else:
            columns |= {f"{tensor['name']}_{column}": flat[column::width] for column in range(width)}
    return columns


def _answers(document: dict[str, Any]) -> list[Any]:
    """Return the first output of a V2 response, one entry per row."""
    columns = list(_tensors(document.get("outputs", [])[:1], "outputs").values())
    return columns[0] if len(columns) == 1 else [list(row) for row in zip(*columns, strict=True)]


def _positions(values: list[Any]) -> list[tuple[str, Any]]:
    return [(f"feature_{position}", value) for position, value in enumerate(values)]


def _type(values: list[Any]) -> str:
    known = [value for value in values if value is not None]
    if known and all(isinstance(value, bool) for value in known):
        return "boolean"
    return "numeric" if all(isinstance(value, int | float) for value in known) else "categorical"


def _cast(value: Any, kind: str) -> Any:
    if value is None or kind != "categorical":
        return value
    return value if isinstance(value, str) else json.dumps(value)


def _scores(answers: list[Any]) -> tuple[list[Any], list[str] | None, tuple[str, ...]]:
    """Return scores, decisions if the model answers with texts, and the names of several scores per row."""
    if all(isinstance(answer, int | float) and not isinstance(answer, bool) for answer in answers):
        return answers, None, ()
    if all(isinstance(answer, list) for answer in answers):
        widths = {len(answer) for answer in answers}
        if len(widths) == 1:
            return answers, None, tuple(map(str, range(widths.pop())))
    return [None] * len(answers), [_cast(answer, "categorical") or "" for answer in answers], ()
