"""The collector's HTTP interface: ``PUT /segments/NAME``, ``POST /`` for CloudEvents, ``/healthz`` and ``/metrics``."""

import time
from http import HTTPStatus

from prometheus_client import CONTENT_TYPE_LATEST, Counter, generate_latest
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Lifespan

from components.shared.errors import InputError
from components.shared.inference_log.segments import NewerLog
from serving.collector.cloud_events import InferenceEvent
from serving.collector.inbox import Inbox
from serving.collector.intake import Intake

SEGMENTS = Counter("perennial_collected_segments", "Segments that servers sent.", ["new"])
_MOST_BYTES = 80 * 2**20


def app(inbox: Inbox, intake: Intake | None = None, lifespan: Lifespan[Starlette] | None = None) -> Starlette:
    """Return the application; a segment is on disk when it is answered, an event of KServe's logger is not yet.

    Args:
        inbox: Where segments go.
        intake: Where events go; without one they are refused.
        lifespan: What runs beside the server.
    """

    async def segment(request: Request) -> Response:
        content = bytearray()
        async for part in request.stream():
            content += part
            if len(content) > _MOST_BYTES:
                return _error(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a segment has at most {_MOST_BYTES} bytes")
        try:
            new = await run_in_threadpool(inbox.take, request.path_params["name"], bytes(content))
        except NewerLog as reason:
            return _error(HTTPStatus.SERVICE_UNAVAILABLE, str(reason))
        except InputError as reason:
            return _error(HTTPStatus.BAD_REQUEST, str(reason))
        SEGMENTS.labels(str(new).lower()).inc()
        return Response(status_code=HTTPStatus.CREATED if new else HTTPStatus.OK)

    async def event(request: Request) -> Response:
        if intake is None:
            return _error(HTTPStatus.NOT_FOUND, "events are not collected here")
        body = await request.body()
        try:
            intake.put(InferenceEvent.parse(request.headers, body, time.time_ns()))
        except InputError as reason:
            return _error(HTTPStatus.BAD_REQUEST, str(reason))
        return Response(status_code=HTTPStatus.ACCEPTED)

    async def health(_: Request) -> Response:
        return PlainTextResponse("ok")

    async def measured(_: Request) -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return Starlette(
        routes=[
            Route("/segments/{name}", segment, methods=["PUT"]),
            Route("/", event, methods=["POST"]),
            Route("/healthz", health),
            Route("/metrics", measured),
        ],
        lifespan=lifespan,
    )


def _error(status: HTTPStatus, reason: str) -> Response:
    return JSONResponse({"error": reason}, status_code=status)
