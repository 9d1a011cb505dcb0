"""The Open Inference Protocol over gRPC: KServe's server on our host, with our answers and refusals."""

import logging
import time
from collections.abc import Callable
from typing import Any

import grpc
from grpc import aio
from kserve.metrics import PREDICT_HIST_TIME
from kserve.protocol.dataplane import DataPlane
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc as stubs
from kserve.protocol.grpc.servicer import InferenceServicer

from serving import metrics, tensors, v2
from serving.refusal import Refused, short
from serving.release import Answer, Release
from serving.served import Served
from serving.signature import Column

logger = logging.getLogger(__name__)

CEILING_BYTES = 256 * 2**20
"""No message beyond this is read at all; a release's own limit is checked on the message."""
_CODES = {
    404: grpc.StatusCode.NOT_FOUND,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    503: grpc.StatusCode.UNAVAILABLE,
    500: grpc.StatusCode.INTERNAL,
}
_CONTENTS = {
    "BOOL": "bool_contents",
    "BYTES": "bytes_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "INT64": "int64_contents",
    "UINT64": "uint64_contents",
    **{f"INT{bits}": "int_contents" for bits in (8, 16, 32)},
    **{f"UINT{bits}": "uint_contents" for bits in (8, 16, 32)},
}


class Servicer(InferenceServicer):
    """KServe's servicer, with inference and readiness answered from the releases."""

    def __init__(self, served: Served, data_plane: DataPlane) -> None:
        super().__init__(data_plane, None)
        self._served = served

    async def ModelInfer(self, request: pb.ModelInferRequest, context: aio.ServicerContext) -> pb.ModelInferResponse:
        """Answer one request."""
        return await self._guarded(context, "grpc", lambda: self._infer(request))

    async def ModelReady(self, request: pb.ModelReadyRequest, context: aio.ServicerContext) -> pb.ModelReadyResponse:
        """Say whether the model, or one version of it, answers."""
        return await self._guarded(
            context,
            None,
            lambda: pb.ModelReadyResponse(ready=self._served.pick(request.name, request.version) is not None),
        )

    async def ServerReady(self, request: pb.ServerReadyRequest, context: aio.ServicerContext) -> pb.ServerReadyResponse:
        """Say whether a release answers."""
        return pb.ServerReadyResponse(ready=self._served.active is not None)

    async def ModelMetadata(
        self, request: pb.ModelMetadataRequest, context: aio.ServicerContext
    ) -> pb.ModelMetadataResponse:
        """Describe the tensors of the active release."""

        def described() -> pb.ModelMetadataResponse:
            release = self._served.pick(request.name, request.version)
            return pb.ModelMetadataResponse(
                name=release.name,
                versions=[release.version],
                platform="onnxruntime",
                inputs=self._served.get_input_types(),
                outputs=self._served.get_output_types(),
            )

        return await self._guarded(context, None, described)

    async def RepositoryModelLoad(self, request: Any, context: aio.ServicerContext) -> None:
        """Refuse: releases come through the endpoint's folder only."""
        await context.abort(grpc.StatusCode.PERMISSION_DENIED, "Models are released, not loaded by request.")

    async def RepositoryModelUnload(self, request: Any, context: aio.ServicerContext) -> None:
        """Refuse: releases come through the endpoint's folder only."""
        await context.abort(grpc.StatusCode.PERMISSION_DENIED, "Models are released, not unloaded by request.")

    async def _guarded(self, context: aio.ServicerContext, protocol: str | None, answer: Callable[[], Any]) -> Any:
        name = self._served.name or "unknown"
        try:
            made = answer()
        except Refused as refusal:
            status, sentence, reason = refusal.status, refusal.sentence, refusal.reason
        except Exception:
            logger.exception("a gRPC request met a bug")
            status, sentence, reason = 500, "The server met a bug; its log says more.", "bug"
        else:
            if protocol:
                metrics.REQUESTS.labels(name, protocol, "OK").inc()
            return made
        code = _CODES.get(status, grpc.StatusCode.INVALID_ARGUMENT)
        if protocol:
            metrics.REQUESTS.labels(name, protocol, code.name).inc()
            metrics.ERRORS.labels(name, reason).inc()
        await context.abort(code, sentence)

    def _infer(self, request: pb.ModelInferRequest) -> pb.ModelInferResponse:
        release = self._served.pick(request.model_name, request.model_version)
        if request.ByteSize() > release.signature.request_bytes:
            raise Refused(
                413,
                f"The request has {request.ByteSize()} bytes; at most {release.signature.request_bytes} are taken.",
                "bytes",
            )
        columns, rows = _columns(release, request)
        start = time.perf_counter()
        answer = release.answer(columns, rows)
        PREDICT_HIST_TIME.labels(release.name).observe(time.perf_counter() - start)
        metrics.count_rows(release.name, answer)
        return _response(release, answer, request.id)


def _columns(release: Release, request: pb.ModelInferRequest) -> tuple[dict[str, Column], int]:
    signature = release.signature
    names = [tensor.name for tensor in request.inputs]
    if twice := sorted({name for name in names if names.count(name) > 1} if len(set(names)) < len(names) else ()):
        raise Refused(400, f"Feature {short(twice[0])} is given twice.", "json")
    signature.check_names(names, "")
    raw = request.raw_input_contents
    if raw and len(raw) != len(names):
        raise Refused(400, f"{len(raw)} raw tensors for {len(names)} inputs.", "shape")
    counts = {}
    for tensor in request.inputs:
        tensors.check_datatype(signature, tensor.name, tensor.datatype)
        counts[tensor.name] = tensors.rows_of(tensor.name, tensor.shape)
    rows = tensors.one_count(counts)
    signature.check_rows(rows)
    columns: dict[str, Column] = {}
    for place, tensor in enumerate(request.inputs):
        column = tensors.from_raw(tensor.name, tensor.datatype, raw[place], rows) if raw else _contents(tensor, rows)
        if "missing" in tensor.parameters:
            column = tensors.with_missing(tensor.name, column, tensor.parameters["missing"].string_param)
        columns[tensor.name] = column
    return columns, rows


def _contents(tensor: pb.ModelInferRequest.InferInputTensor, rows: int) -> Column:
    if tensor.datatype not in _CONTENTS:
        raise Refused(400, f"Feature {short(tensor.name)}: {tensor.datatype} is taken as raw contents only.", "type")
    values = getattr(tensor.contents, _CONTENTS[tensor.datatype])
    if tensor.datatype == "BYTES":
        return tensors.from_bytes(tensor.name, values, rows)
    if tensor.datatype == "BOOL":
        tensors.check_length(tensor.name, len(values), rows)
        return list(values)
    return tensors.from_numbers(tensor.name, values, rows)


def _response(release: Release, answer: Answer, request_id: str) -> pb.ModelInferResponse:
    response = pb.ModelInferResponse(model_name=release.name, model_version=answer.version, id=request_id)
    for name, (datatype, shape, data) in v2.outputs(answer).items():
        output = response.outputs.add(name=name, datatype=datatype, shape=shape)
        if datatype == "BYTES":
            output.contents.bytes_contents.extend(text.encode() for text in data)
        else:
            output.contents.fp32_contents.extend(data)
    return response


async def start(served: Served, data_plane: DataPlane, host: str, port: int) -> tuple[aio.Server, str]:
    """Start the server; return it with the address it got (port 0 takes any free one)."""
    server = aio.server(
        options=[
            ("grpc.max_receive_message_length", CEILING_BYTES),
            ("grpc.max_send_message_length", CEILING_BYTES),
            # Without this a second server would silently share the port.
            ("grpc.so_reuseport", 0),
        ]
    )
    stubs.add_GRPCInferenceServiceServicer_to_server(Servicer(served, data_plane), server)
    bound = server.add_insecure_port(f"{bracketed(host)}:{port}")
    await server.start()
    return server, f"{bracketed(host)}:{bound}"


def bracketed(host: str) -> str:
    """Write a host as it stands in front of a port.

    >>> bracketed("::1"), bracketed("127.0.0.1")
    ('[::1]', '127.0.0.1')
    """
    return f"[{host}]" if ":" in host else host
