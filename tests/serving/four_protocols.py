"""One request by five protocols: REST V1, V2 in JSON and in binary, gRPC, and KServe's own data plane."""

import asyncio
import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub

from serving import grpc_server
from serving.exchange import Exchange, ScoredRequest
from serving.information import Information
from serving.release import ServedRelease
from serving.rest import RestRoutes
from serving.served import Served
from tests.serving import tiny

PROTOCOLS = {"v1": "v1", "v2_json": "v2", "v2_binary": "v2", "grpc": "grpc"}
"""The methods of ``ServerInProcess`` and the labels of their protocols in the metrics."""
REGIONS = ("lower", "upper", "set")
SERVED = ("feature_ages", "features")
WITH_ID_FIELD = ("v2_json", "v2_binary", "grpc")


@dataclass(frozen=True)
class Answer:
    """What any protocol answered; ``status`` is the HTTP status or the gRPC code's name."""

    status: Any
    request_id: str | None
    version: str | None = None
    scores: Any = None
    decisions: Any = None
    unseen: Any = None
    error: str = ""
    body_id: str | None = None
    regions: Any = None
    """Bounds or set of each row, by the name of the field or tensor; None if the answer has none."""
    served: Any = None
    """Ages and features of each row, by the name of the field or tensor; None if the answer has none."""


@dataclass(frozen=True)
class Question:
    """One request, independent of any protocol; what its rows lack, it leaves out."""

    rows: list[dict[str, Any]]
    field_id: str | None = None
    header_id: str | None = None
    entity: Any = None
    event_time: Any = None
    interval: Any = None
    return_features: Any = None

    @property
    def beside_features(self) -> dict[str, Any]:
        """What a request may say of its rows."""
        said = {"entity": self.entity, "event_time": self.event_time, "interval": self.interval}
        said["return_features"] = self.return_features
        return {name: value for name, value in said.items() if value is not None}


class ServerInProcess:
    """The real REST application and the real gRPC server around one exchange, in this process."""

    def __init__(self, folder: Path, biases: dict[str, float] | None = None) -> None:
        self.served = Served()
        for version, bias in (biases or {"1": 0.0}).items():
            package = tiny.package(folder / version, bias=bias)
            self.served.loaded[version] = ServedRelease(package, tiny.NAME, version)
        self.served.activate(self.served.loaded["1"])
        self.exchange = Exchange(self.served)
        self.seen: list[ScoredRequest] = []

    def v1(self, question: Question) -> Answer:
        document = {"instances": question.rows} | question.beside_features
        return self._v1_answer(*self._post(f"/v1/models/{tiny.NAME}:predict", json.dumps(document).encode(), question))

    def v2_json(self, question: Question) -> Answer:
        inputs = [
            {
                "name": name,
                "datatype": kind,
                "shape": [len(question.rows)],
                "data": [row[name] for row in question.rows],
            }
            for name, kind in _present(question.rows)
        ]
        body = json.dumps(_v2_head(question) | {"inputs": inputs}).encode()
        return _v2_answer(*self._post(f"/v2/models/{tiny.NAME}/infer", body, question))

    def v2_binary(self, question: Question) -> Answer:
        raw, inputs = _binary(question.rows)
        head = json.dumps(_v2_head(question) | {"inputs": inputs}).encode()
        length = [(b"inference-header-content-length", str(len(head)).encode())]
        return _v2_answer(*self._post(f"/v2/models/{tiny.NAME}/infer", head + raw, question, length))

    def grpc(self, question: Question) -> Answer:
        return asyncio.run(self._grpc(question))

    async def _grpc(self, question: Question) -> Answer:
        server, address = await grpc_server.start(self.exchange, "127.0.0.1", 0)
        metadata = [("x-request-id", question.header_id)] if question.header_id else []
        try:
            async with grpc.aio.insecure_channel(address) as channel:
                call = GRPCInferenceServiceStub(channel).ModelInfer(_message(question), timeout=20, metadata=metadata)
                try:
                    response = await call
                except grpc.aio.AioRpcError as refused:
                    trailing = dict(refused.trailing_metadata())
                    return Answer(refused.code().name, trailing.get("x-request-id"), error=refused.details() or "")
        finally:
            await server.stop(None)
        data = {output.name: _contents(output) for output in response.outputs}
        return _of_tensors("OK", response.id, response.model_version, data, response.id)

    def _post(
        self, path: str, body: bytes, question: Question, more: list[tuple[bytes, bytes]] | None = None
    ) -> tuple[int, str | None, dict[str, Any]]:
        headers = [(b"content-type", b"application/json"), *(more or [])]
        if question.header_id is not None:
            headers.append((b"x-request-id", question.header_id.encode("latin-1", "replace")))
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body}

        async def send(message: Any) -> None:
            sent.append(message)

        async def ask() -> None:
            routes = RestRoutes(self.exchange, Information(self.exchange))
            await routes({"type": "http", "path": path, "method": "POST", "headers": headers}, receive, send)

        asyncio.run(ask())
        answered = dict(sent[0]["headers"]).get(b"x-request-id")
        return sent[0]["status"], answered and answered.decode(), json.loads(sent[1]["body"])

    @staticmethod
    def _v1_answer(status: int, answered_id: str | None, content: dict[str, Any]) -> Answer:
        if status != 200:
            return Answer(status, answered_id, error=content["error"])
        rows = content["predictions"]
        scores, decisions, unseen = ([row[name] for row in rows] for name in ("score", "decision", "out_of_vocabulary"))
        regions = [{name: row[name] for name in REGIONS if name in row} for row in rows]
        served = [{name: row[name] for name in SERVED if name in row} for row in rows]
        version = content["model_version"]
        return Answer(
            status,
            answered_id,
            version,
            scores,
            decisions,
            unseen,
            regions=regions if any(regions) else None,
            served=served if any(served) else None,
        )


def _present(rows: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Return the features that the rows have, with their datatypes."""
    kinds = (("usage", "FP64"), ("active", "BOOL"), ("plan", "BYTES"))
    return [(name, kind) for name, kind in kinds if name in rows[0]]


def _v2_head(question: Question) -> dict[str, Any]:
    head: dict[str, Any] = {} if question.field_id is None else {"id": question.field_id}
    return head | ({"parameters": question.beside_features} if question.beside_features else {})


def _v2_answer(status: int, answered_id: str | None, content: dict[str, Any]) -> Answer:
    if status != 200:
        return Answer(status, answered_id, error=content["error"])
    data = {output["name"]: output["data"] for output in content["outputs"]}
    return _of_tensors(status, answered_id, content["model_version"], data, content["id"])


def _of_tensors(status: Any, answered_id: str | None, version: str, data: dict[str, list[Any]], body_id: str) -> Answer:
    """Return what tensors say, by row; the scores of several classes are one flat list."""
    columns: dict[str, list[Any]] = {name: data[name] for name in ("lower", "upper") if name in data}
    if "set" in data:
        columns["set"] = [json.loads(text) for text in data["set"]]
    regions = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)] or None
    unseen = [json.loads(text) for text in data["out_of_vocabulary"]]
    objects = {name: map(json.loads, data[name]) for name in SERVED if name in data}
    served = [dict(zip(objects, row, strict=True)) for row in zip(*objects.values(), strict=True)] or None
    return Answer(
        status,
        answered_id,
        version,
        data["score"],
        data.get("decision"),
        unseen,
        body_id=body_id,
        regions=regions,
        served=served,
    )


def _contents(output: pb.ModelInferResponse.InferOutputTensor) -> list[Any]:
    match output.datatype:
        case "FP32":
            return list(output.contents.fp32_contents)
        case "FP64":
            return list(output.contents.fp64_contents)
        case _:
            return [text.decode() for text in output.contents.bytes_contents]


def _binary(rows: list[dict[str, Any]]) -> tuple[bytes, list[dict[str, Any]]]:
    texts = [(row.get("plan") or "").encode() for row in rows]
    present = _present(rows)
    every = {
        "usage": np.array([row.get("usage") or 0 for row in rows], "<f8").tobytes(),
        "active": bytes(row.get("active", False) for row in rows),
        "plan": b"".join(struct.pack("<I", len(text)) + text for text in texts),
    }
    raw = {name: every[name] for name, _ in present}
    missing = ",".join(str(index) for index, row in enumerate(rows) if row.get("usage") is None)
    inputs: list[dict[str, Any]] = [
        {"name": name, "datatype": kind, "shape": [len(rows)], "parameters": {"binary_data_size": len(raw[name])}}
        for name, kind in present
    ]
    for tensor in inputs:
        if tensor["name"] == "usage":
            tensor["parameters"]["missing"] = missing
    return b"".join(raw.values()), inputs


def _message(question: Question) -> pb.ModelInferRequest:
    rows = question.rows
    request = pb.ModelInferRequest(model_name=tiny.NAME, id=question.field_id or "")
    if isinstance(question.entity, list):
        request.parameters["entities"].string_param = json.dumps(question.entity)
    elif isinstance(question.entity, bool):
        request.parameters["entity"].bool_param = question.entity
    elif isinstance(question.entity, int):
        request.parameters["entity"].int64_param = question.entity
    elif question.entity is not None:
        request.parameters["entity"].string_param = question.entity
    if question.event_time is not None:
        kind = "bool_param" if isinstance(question.event_time, bool) else "string_param"
        setattr(request.parameters["event_time"], kind, question.event_time)
    if question.interval is not None:
        # The protocol has no parameter for a number with decimals.
        request.parameters["interval"].string_param = str(question.interval)
    if question.return_features is not None:
        request.parameters["return_features"].bool_param = question.return_features
    for name, kind in _present(rows):
        tensor, values = request.inputs.add(name=name, datatype=kind, shape=[len(rows)]), [row[name] for row in rows]
        if name == "usage":
            tensor.contents.fp64_contents.extend(value or 0 for value in values)
            tensor.parameters["missing"].string_param = ",".join(str(i) for i, v in enumerate(values) if v is None)
        elif name == "active":
            tensor.contents.bool_contents.extend(values)
        else:
            tensor.contents.bytes_contents.extend((value or "").encode() for value in values)
    return request
