"""The Open Inference Protocol over gRPC, by KServe's generated messages: decoded, exchanged and encoded."""

import functools
import logging
import math
from collections.abc import Awaitable, Callable, Collection, Mapping
from functools import partial
from types import NoneType
from typing import Any

import grpc
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from grpc import aio
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc as stubs

from components.shared.hosts import bracketed
from serving import entity, event_time, explanation, interval, metadata, request_id, tensors, v2
from serving.access import Admission
from serving.connection import GRPC_CONNECTIONS
from serving.entity import Entity
from serving.exchange import LARGE_BYTES, Exchange, ScoredRequest
from serving.limits import CEILING_BYTES, message_limits
from serving.online import answer
from serving.refusal import RequestRefused, short
from serving.release import ServedRelease
from serving.seldom import Seldom
from serving.signature import Column, Signature

logger = logging.getLogger(__name__)

_SERVICE = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"]
EXPLAINS = "explain"
"""The parameter of a request that asks for an explanation: over gRPC there is no call of its own for it."""
_OPEN = frozenset({"ServerLive", "ServerReady", "ModelReady"})
"""Probes have no token."""
_HOW = "the metadata 'authorization: Bearer TOKEN'"
_HANDSHAKE_MS, _IDLE_MS, _STREAMS = 10_000, 300_000, 256
_CODES = {
    401: grpc.StatusCode.UNAUTHENTICATED,
    404: grpc.StatusCode.NOT_FOUND,
    409: grpc.StatusCode.FAILED_PRECONDITION,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
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


class GrpcBody:
    """One request message.

    Args:
        request: The message.
        explains: Whether the answer holds the tensors of an explanation, too.
    """

    def __init__(self, request: pb.ModelInferRequest, *, explains: bool = False) -> None:
        self._request = request
        self._further = explanation.OUTPUTS if explains else ()

    def request_id(self) -> str | None:
        """Take the id from the field ``id``."""
        return request_id.from_field(self._request.id)

    def entity(self) -> Entity | None:
        """Take the entity from the parameter ``entity``, or one per row from ``entities``, a JSON list in a text."""
        parameters = self._request.parameters
        if not parameters:
            return None
        if "entities" in parameters:
            return entity.from_json_text(parameters["entities"].string_param)
        return entity.from_json(self._parameter("entity"))

    def event_time_us(self) -> int | None:
        """Take the event time from the parameter ``event_time``."""
        return event_time.from_json(self._parameter("event_time"))

    def interval(self) -> float | None:
        """Take the level of intervals or sets from the parameter ``interval``, a number in a text."""
        return interval.from_parameter(self._parameter("interval")) if self._request.parameters else None

    def _parameter(self, name: str) -> Any:
        """Return a parameter's value, None if there is none; one without a value is an empty text."""
        return _parameter(self._request, name)

    def shows_features(self) -> bool:
        """Take whether the answer must hold the features from the request's parameter."""
        return answer.from_json(self._parameter(answer.ASKED)) if self._request.parameters else False

    def features(self) -> Collection[str]:
        """Name the tensors."""
        return [tensor.name for tensor in self._request.inputs]

    def columns(self, release: ServedRelease, sent: Signature | None = None) -> tuple[dict[str, Column], int]:
        """Turn the tensors into columns, and check which outputs the answer must hold."""
        signature = sent or release.signature
        if requested := [output.name for output in self._request.outputs]:
            regions = () if self._parameter("interval") is None else interval.outputs(release.task)
            served = answer.outputs(looks_up=sent is not None, shows_features=self.shows_features())
            v2.check_outputs(requested, (*release.outputs, *self._further, *regions, *served))
        if not signature.names and not self._request.inputs:
            signature.check_rows(rows := entity.count(self.entity()))
            return {}, rows
        return _plain(self._request, signature) or _columns(self._request, signature)

    def encode(self, scored: ScoredRequest) -> pb.ModelInferResponse:
        """Write the answer as a message: in raw tensors if the request came in those.

        The protocol leaves the choice to the server, and Triton's client reads no others. The parameter
        ``binary_data_output`` may be false to prevent it.
        """
        is_raw = bool(self._request.raw_input_contents) and self._parameter("binary_data_output") is not False
        response = pb.ModelInferResponse(id=scored.request.request_id)
        release, requested = scored.release, {output.name for output in self._request.outputs}
        values = v2.outputs(scored)
        if scored.contributions is not None:
            values |= explanation.tensors(scored)
        if scored.regions is not None:
            values |= interval.tensors(scored)
        if scored.request.looked_up is not None or self.shows_features():
            values |= answer.tensors(scored, shows_features=self.shows_features())
        names = tuple([name for name in values if name in requested]) if requested else tuple(values)
        response.MergeFrom(_unfilled(release.name, release.version, names, release.label_items))
        for output in response.outputs:
            datatype, shape, data = values[output.name]
            output.shape.extend(shape)
            if output.name in explanation.BY_FEATURE:
                for key, text in v2.parameters(release, output.name)["parameters"].items():
                    output.parameters[key].string_param = text
            if is_raw:
                response.raw_output_contents.append(tensors.to_raw(datatype, data))
            elif datatype == "BYTES":
                output.contents.bytes_contents.extend(list(map(str.encode, data)))
            elif datatype == "FP32":
                output.contents.fp32_contents.extend(data)
            else:
                output.contents.fp64_contents.extend(data)
        return response


@functools.lru_cache(maxsize=64)
def _unfilled(model: str, version: str, outputs: tuple[str, ...], labels: tuple[tuple[str, str], ...]) -> Message:
    """Return what answers of a release have in common; copying it is faster than building it again.

    The arguments are not the release itself, which would be kept in memory for as long as this is.
    """
    response = pb.ModelInferResponse(model_name=model, model_version=version)
    for name in outputs:
        output = response.outputs.add(name=name, datatype=metadata.datatype(name))
        for key, text in labels if name == "score" else ():
            output.parameters[key].string_param = text
    return response


class GrpcServicer(stubs.GRPCInferenceServiceServicer):
    """Answers every call of the protocol from the releases.

    Args:
        exchange: Answers the requests.
    """

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._served = exchange.served

    async def ModelInfer(self, request: pb.ModelInferRequest, context: aio.ServicerContext) -> pb.ModelInferResponse:
        """Answer one request; its id is in the answer, or in the trailing metadata of a refusal."""
        size = request.ByteSize()
        model, version = request.model_name, request.model_version or None
        asked = _parameter(request, EXPLAINS) if request.parameters else None
        explains = asked is True
        head = self._exchange.head("grpc", model, version, _metadata_id(context), size, explains=explains)
        try:
            if type(asked) not in (bool, NoneType):
                raise RequestRefused(400, f"parameter '{EXPLAINS}' is neither true nor false.", "type")
            if self._exchange.ending.noticed():
                raise RequestRefused(503, "the server is ending; ask another one, or again.", "ending")
            with self._exchange.in_flight.request() as body:
                body.add(size)
                if self._exchange.admission is not None:
                    self._exchange.admission.charge(_authorization(context.invocation_metadata()), size)
                read = partial(GrpcBody, request, explains=explains)
                if size > LARGE_BYTES or explains or self._exchange.lookups is not None:
                    reply = await self._exchange.answer(head, read)
                else:
                    reply = self._exchange.answer_now(head, read)
        except RequestRefused as refusal:
            reply = self._exchange.refuse(head, refusal)
        if reply.refusal is not None:
            # An answer has a field for it, and metadata would cost a twentieth of the call.
            context.set_trailing_metadata(((request_id.HEADER, reply.request_id),))
            await _abort(context, reply.refusal)
        return reply.content

    async def ModelReady(self, request: pb.ModelReadyRequest, context: aio.ServicerContext) -> pb.ModelReadyResponse:
        """Tell whether the model, or one version of it, answers."""
        return await _answered(
            context,
            lambda: pb.ModelReadyResponse(ready=self._served.pick(request.name, request.version) is not None),
        )

    async def ServerLive(self, request: pb.ServerLiveRequest, context: aio.ServicerContext) -> pb.ServerLiveResponse:
        """Tell that the server is there."""
        return pb.ServerLiveResponse(live=True)

    async def ServerReady(self, request: pb.ServerReadyRequest, context: aio.ServicerContext) -> pb.ServerReadyResponse:
        """Tell whether clients may be sent here."""
        return pb.ServerReadyResponse(ready=self._exchange.ready)

    async def ServerMetadata(
        self, request: pb.ServerMetadataRequest, context: aio.ServicerContext
    ) -> pb.ServerMetadataResponse:
        """Describe the server."""
        return pb.ServerMetadataResponse(**metadata.SERVER)

    async def ModelMetadata(
        self, request: pb.ModelMetadataRequest, context: aio.ServicerContext
    ) -> pb.ModelMetadataResponse:
        """Describe the tensors of a release."""

        def described() -> pb.ModelMetadataResponse:
            release = self._served.pick(request.name, request.version)
            return pb.ModelMetadataResponse(
                name=release.name,
                versions=self._served.versions(),
                platform=metadata.PLATFORM,
                inputs=metadata.inputs(release),
                # The message has no place for the classes; they are in each answer.
                outputs=[
                    {key: value for key, value in output.items() if key != "parameters"}
                    for output in metadata.outputs(release)
                ],
            )

        return await _answered(context, described)

    async def RepositoryModelLoad(self, request: Any, context: aio.ServicerContext) -> None:
        """Refuse: releases come through the endpoint's folder only."""
        await context.abort(grpc.StatusCode.PERMISSION_DENIED, "models are released, not loaded by request.")

    async def RepositoryModelUnload(self, request: Any, context: aio.ServicerContext) -> None:
        """Refuse: releases come through the endpoint's folder only."""
        await context.abort(grpc.StatusCode.PERMISSION_DENIED, "models are released, not unloaded by request.")


class _Gatekeeper(aio.ServerInterceptor):
    """Refuses calls of clients that may not ask, before their message is read.

    Args:
        admission: Lets the others in.
        exchange: Counts those that are refused.
    """

    def __init__(self, admission: Admission, exchange: Exchange) -> None:
        self._admission, self._exchange = admission, exchange

    async def intercept_service(self, continuation: Callable[[Any], Awaitable[Any]], details: Any) -> Any:
        """Hand a call on, or refuse it."""
        if details.method.rpartition("/")[2] not in _OPEN:
            try:
                self._admission.enter(_authorization(details.invocation_metadata), how=_HOW)
            except RequestRefused as refusal:
                self._exchange.refuse(self._exchange.head("grpc"), refusal)
                return grpc.unary_unary_rpc_method_handler(functools.partial(_refused, refusal))
        return await continuation(details)


def _authorization(metadata_: Any) -> str | None:
    values = [value for key, value in metadata_ or () if key == "authorization"]
    return values[0] if len(values) == 1 and isinstance(values[0], str) else None


async def _refused(refusal: RequestRefused, request: Any, context: aio.ServicerContext) -> None:
    await _abort(context, refusal)


async def _answered(context: aio.ServicerContext, answer: Callable[[], Any]) -> Any:
    """Answer a request about the model, which is not counted."""
    try:
        return answer()
    except RequestRefused as refusal:
        await _abort(context, refusal)
    except Exception:
        logger.exception("a gRPC request about the model failed unexpectedly")
        await context.abort(grpc.StatusCode.INTERNAL, "the server failed unexpectedly; its log has the details.")


async def _abort(context: aio.ServicerContext, refusal: RequestRefused) -> None:
    await context.abort(_CODES.get(refusal.status, grpc.StatusCode.INVALID_ARGUMENT), refusal.sentence)


def _metadata_id(context: aio.ServicerContext) -> str | None:
    for key, value in context.invocation_metadata() or ():
        if key == request_id.HEADER:
            return request_id.from_header(value if isinstance(value, str) else None)
    return None


def _parameter(request: pb.ModelInferRequest, name: str) -> Any:
    """Return a parameter's value, None if there is none; one without a value is an empty text."""
    parameters = request.parameters
    if name not in parameters:
        return None
    kind = parameters[name].WhichOneof("parameter_choice")
    return getattr(parameters[name], kind) if kind else ""


def _plain(request: pb.ModelInferRequest, signature: Signature) -> tuple[dict[str, Column], int] | None:
    """Return the columns of the commonest request, in one pass: typed contents of shape [rows], nothing missing.

    Every other request, also every wrong one, is None and needs a closer look.
    """
    if request.raw_input_contents:
        return None
    columns: dict[str, Column] = {}
    rows = None
    plain = signature.plain_datatypes
    for tensor in request.inputs:
        name, datatype, shape = tensor.name, tensor.datatype, tensor.shape
        if datatype not in plain.get(name, ()) or tensor.parameters:
            return None
        values: list[Any] = list(getattr(tensor.contents, _CONTENTS[datatype]))
        rows = len(values) if rows is None else rows
        if len(shape) != 1 or not shape[0] == rows == len(values):
            return None
        if datatype == "BYTES":
            try:
                values = list(map(bytes.decode, values))
            except UnicodeDecodeError:
                return None
        elif not math.isfinite(sum(values)):
            # There may be a NaN, or only an infinity or large numbers.
            return None
        columns[name] = values
    if rows is None or len(columns) != len(request.inputs) or columns.keys() != signature.names:
        return None
    signature.check_rows(rows)
    return columns, rows


def _columns(request: pb.ModelInferRequest, signature: Signature) -> tuple[dict[str, Column], int]:
    names = [tensor.name for tensor in request.inputs]
    if len(set(names)) < len(names):
        twice = min(name for name in names if names.count(name) > 1)
        raise RequestRefused(400, f"feature {short(twice)} is given twice.", "json")
    signature.check_names(names, "")
    raw = request.raw_input_contents
    if raw and len(raw) != len(names):
        raise RequestRefused(
            400, f"the request has {len(raw)} raw tensors for {len(names)} inputs; expected one each.", "shape"
        )
    counts = {}
    for tensor in request.inputs:
        tensors.check_datatype(signature, tensor.name, tensor.datatype)
        counts[tensor.name] = tensors.rows_of(tensor.name, tensor.shape)
    rows = tensors.common_rows(counts)
    signature.check_rows(rows)
    columns: dict[str, Column] = {}
    for index, tensor in enumerate(request.inputs):
        column = tensors.from_raw(tensor.name, tensor.datatype, raw[index], rows) if raw else _contents(tensor, rows)
        if "missing" in tensor.parameters:
            column = tensors.with_missing(tensor.name, column, tensor.parameters["missing"].string_param)
        columns[tensor.name] = column
    return columns, rows


def _contents(tensor: pb.ModelInferRequest.InferInputTensor, rows: int) -> Column:
    if tensor.datatype not in _CONTENTS:
        raise RequestRefused(
            400, f"feature {short(tensor.name)}: {tensor.datatype} is supported as raw contents only.", "type"
        )
    values = getattr(tensor.contents, _CONTENTS[tensor.datatype])
    if tensor.datatype == "BYTES":
        return tensors.from_bytes(tensor.name, values, rows)
    if tensor.datatype == "BOOL":
        tensors.check_length(tensor.name, len(values), rows)
        return list(values)
    return tensors.from_numbers(tensor.name, values, rows)


class _Unreadable:
    """Bytes that could not be parsed as the message of their call."""


class _Reading:
    """Parses the message of a call; a failure becomes a value, because gRPC would log an exception with its traceback.

    Args:
        read: The generated reader.
    """

    def __init__(self, read: Callable[[bytes], Message]) -> None:
        self._read = read

    def __call__(self, content: bytes) -> Message | _Unreadable:
        """Read a message."""
        try:
            return self._read(content)
        except DecodeError:
            return _Unreadable()


def _handlers(exchange: Exchange) -> Mapping[str, grpc.RpcMethodHandler]:
    """Return what answers each call of the protocol, by its name."""
    servicer, unreadable = GrpcServicer(exchange), Seldom(logger)

    def answering(method: str) -> Callable[[Any, aio.ServicerContext], Awaitable[Any]]:
        answer = getattr(servicer, method)

        async def answered(request: Any, context: aio.ServicerContext) -> Any:
            if isinstance(request, _Unreadable):
                refusal = RequestRefused(400, f"the request could not be parsed as a {method} message.", "protobuf")
                exchange.refuse(exchange.head("grpc"), refusal)
                unreadable.warning(f"a request over gRPC was refused: {refusal.sentence}")
                await _abort(context, refusal)
            return await answer(request, context)

        return answered

    return {
        method.name: grpc.unary_unary_rpc_method_handler(
            answering(method.name),
            request_deserializer=_Reading(GetMessageClass(method.input_type).FromString),
            response_serializer=GetMessageClass(method.output_type).SerializeToString,
        )
        for method in _SERVICE.methods
    }


async def start(exchange: Exchange, host: str, port: int) -> tuple[aio.Server, str]:
    """Start the server; return it with its address (port 0 takes any free one).

    A message is limited by the releases in memory at the start. A later release with a larger ``request_mib`` takes
    messages of that size after the next start.
    """
    limits = message_limits(exchange.served.largest_request_bytes())
    server = aio.server(
        # Beyond these, a call is refused before its message is read.
        maximum_concurrent_rpcs=limits.calls,
        # It costs a tenth of a request, so there is none where everybody is admitted.
        interceptors=[] if exchange.admission is None else [_Gatekeeper(exchange.admission, exchange)],
        options=[
            # A larger message is not read at all; the release's own limit is checked on the message.
            ("grpc.max_receive_message_length", limits.size_bytes),
            ("grpc.max_send_message_length", CEILING_BYTES),
            # What REST's connections may do: see ConnectionLimits.
            ("grpc.server_handshake_timeout_ms", _HANDSHAKE_MS),
            ("grpc.max_connection_idle_ms", _IDLE_MS),
            ("grpc.max_concurrent_streams", _STREAMS),
            ("grpc.max_allowed_incoming_connections", GRPC_CONNECTIONS),
            # Without this a second server would silently share the port.
            ("grpc.so_reuseport", 0),
        ],
    )
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE.full_name, _handlers(exchange)),))
    bound = server.add_insecure_port(f"{bracketed(host)}:{port}")
    await server.start()
    return server, f"{bracketed(host)}:{bound}"
