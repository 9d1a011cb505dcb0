"""An in-process server that speaks Vertex AI's gRPC API, from the protos that ship with the SDK.

It is strict: a field that the protos do not have, another project or region, a missing parent, a pipeline that does not
follow KFP's schema, or parameters that are not the pipeline's are refused as Google refuses them.
"""

import datetime
import functools
import json
import threading
from collections.abc import Callable, Mapping
from concurrent import futures
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from google.auth import jwt
from google.auth.exceptions import GoogleAuthError
from google.cloud import aiplatform_v1 as api
from google.longrunning import operations_pb2
from google.protobuf import any_pb2, empty_pb2, json_format, unknown_fields
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status
from kfp.pipeline_spec import pipeline_spec_pb2

PROJECT, REGION = "my-project", "europe-west4"
PARENT = f"projects/{PROJECT}/locations/{REGION}"
TOKEN = "a-valid-token"
STARTED = datetime.datetime(2026, 1, 5, 12, tzinfo=datetime.UTC)
_CODES = {
    grpc.StatusCode.INVALID_ARGUMENT: 3, grpc.StatusCode.NOT_FOUND: 5, grpc.StatusCode.ALREADY_EXISTS: 6,
    grpc.StatusCode.PERMISSION_DENIED: 7, grpc.StatusCode.RESOURCE_EXHAUSTED: 8, grpc.StatusCode.UNIMPLEMENTED: 12,
    grpc.StatusCode.UNAVAILABLE: 14, grpc.StatusCode.UNAUTHENTICATED: 16, grpc.StatusCode.FAILED_PRECONDITION: 9,
    grpc.StatusCode.ABORTED: 10, grpc.StatusCode.INTERNAL: 13,
}  # fmt: skip
_PENDING: Any = api.PipelineState.PIPELINE_STATE_PENDING
_PAUSED: Any = api.Schedule.State.PAUSED
_ACTIVE: Any = api.Schedule.State.ACTIVE
_TYPES = {
    pipeline_spec_pb2.ParameterType.NUMBER_INTEGER: "number_value",
    pipeline_spec_pb2.ParameterType.NUMBER_DOUBLE: "number_value",
    pipeline_spec_pb2.ParameterType.STRING: "string_value",
    pipeline_spec_pb2.ParameterType.BOOLEAN: "bool_value",
    pipeline_spec_pb2.ParameterType.LIST: "list_value",
    pipeline_spec_pb2.ParameterType.STRUCT: "struct_value",
}


class Refused(Exception):
    """What the server answers instead."""

    def __init__(self, code: grpc.StatusCode, message: str, *details: Any) -> None:
        super().__init__(message)
        self.code, self.message, self.details = code, message, details


def invalid(field_: str, why: str) -> Refused:
    """Refuse a field as Google does, with its name in the details."""
    violation = error_details_pb2.BadRequest.FieldViolation(field=field_, description=why)
    details = error_details_pb2.BadRequest(field_violations=[violation])
    return Refused(grpc.StatusCode.INVALID_ARGUMENT, "List of found errors:", details)


def error_info(reason: str) -> error_details_pb2.ErrorInfo:
    """Return the detail that says the reason of a refusal."""
    return error_details_pb2.ErrorInfo(reason=reason, domain="googleapis.com")


@dataclass
class Ending:
    """How a run ends."""

    states: Mapping[str, str]
    """Task -> its last state; the others are not triggered."""
    error: str = ""
    """What the service says of the task that failed."""
    artifacts: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Task -> output -> URI."""
    state: str = "SUCCEEDED"


class Double:
    """The services, with what they were asked."""

    def __init__(self) -> None:
        self.jobs: dict[str, api.PipelineJob] = {}
        self.schedules: dict[str, api.Schedule] = {}
        self.requests: list[Any] = []
        self.endings: dict[str, Ending] = {}
        self.logs: dict[str, list[str]] = {}
        self.logs_allowed = self.monitoring_allowed = True
        self.series: list[tuple[str, dict[str, Any]]] = []
        """What Cloud Monitoring has: metric and time series."""
        self.refuse: Callable[[str], Refused | None] = lambda method: None
        """Called with the name of each method; what it returns is the answer."""
        self.stuck_operations = False
        self.token_refusal: str | None = None
        """Why the token server gives no token."""
        self.ending: Ending | None = None
        """How a run that is looked at a second time ends; None lets it run."""
        self.accepts: Callable[[str], bool] = lambda token: False
        """Whether a token is valid."""
        self._lock = threading.Lock()
        self._looks: dict[str, int] = {}

    # The methods of the services, by their names.

    def CreatePipelineJob(self, request: api.CreatePipelineJobRequest) -> api.PipelineJob:
        check_parent(request.parent)
        name = f"{request.parent}/pipelineJobs/{request.pipeline_job_id}"
        if name in self.jobs:
            raise Refused(grpc.StatusCode.ALREADY_EXISTS, f"Pipeline job already exists: {name}.")
        check_job(request.pipeline_job)
        job = api.PipelineJob(request.pipeline_job)
        job.name, job.state = name, _PENDING
        job.create_time = STARTED + datetime.timedelta(minutes=len(self.jobs))
        self.jobs[name] = job
        return job

    def GetPipelineJob(self, request: api.GetPipelineJobRequest) -> api.PipelineJob:
        job = self._job(request.name)
        looks = self._looks[request.name] = self._looks.get(request.name, 0) + 1
        if looks > 1 and self.ending and job.state.name not in ("PIPELINE_STATE_SUCCEEDED", "PIPELINE_STATE_CANCELLED"):
            end(job, self.ending)
        return job

    def ListPipelineJobs(self, request: api.ListPipelineJobsRequest) -> api.ListPipelineJobsResponse:
        check_parent(request.parent)
        label, _, value = request.filter.removeprefix("labels.").partition("=")
        found = [job for job in self.jobs.values() if job.labels.get(label) == value.strip('"')]
        assert request.order_by == "create_time desc"
        return api.ListPipelineJobsResponse(pipeline_jobs=sorted(found, key=lambda job: job.create_time, reverse=True))

    def CancelPipelineJob(self, request: api.CancelPipelineJobRequest) -> empty_pb2.Empty:
        end(self._job(request.name), Ending({}, state="CANCELLED"))
        return empty_pb2.Empty()

    def CreateSchedule(self, request: api.CreateScheduleRequest) -> api.Schedule:
        check_parent(request.parent)
        described = request.schedule.create_pipeline_job_request
        if described.parent != request.parent:
            raise invalid("schedule.create_pipeline_job_request.parent", "must be the schedule's parent")
        check_job(described.pipeline_job)
        fields = request.schedule.cron.removeprefix("TZ=UTC ").split()
        if len(fields) != 5 or not all(set(part) <= set("0123456789*/,-") for part in fields):
            raise invalid("schedule.cron", f"{request.schedule.cron} is not a cron expression")
        if request.schedule.max_concurrent_run_count < 1:
            raise invalid("schedule.max_concurrent_run_count", "must be at least 1")
        schedule = api.Schedule(request.schedule)
        schedule.name = f"{request.parent}/schedules/{len(self.schedules) + 1}"
        schedule.state, schedule.create_time = _ACTIVE, STARTED
        self.schedules[schedule.name] = schedule
        return schedule

    def ListSchedules(self, request: api.ListSchedulesRequest) -> api.ListSchedulesResponse:
        check_parent(request.parent)
        return api.ListSchedulesResponse(schedules=list(self.schedules.values()))

    def PauseSchedule(self, request: api.PauseScheduleRequest) -> empty_pb2.Empty:
        self._schedule(request.name).state = _PAUSED
        return empty_pb2.Empty()

    def ResumeSchedule(self, request: api.ResumeScheduleRequest) -> empty_pb2.Empty:
        self._schedule(request.name).state = _ACTIVE
        return empty_pb2.Empty()

    def DeleteSchedule(self, request: api.DeleteScheduleRequest) -> operations_pb2.Operation:
        self._schedule(request.name)
        if self.stuck_operations:
            return operations_pb2.Operation(name=f"{PARENT}/operations/1", done=False)
        del self.schedules[request.name]
        response = any_pb2.Any()
        response.Pack(empty_pb2.Empty())
        return operations_pb2.Operation(name=f"{PARENT}/operations/1", done=True, response=response)

    def GetOperation(self, request: operations_pb2.GetOperationRequest) -> operations_pb2.Operation:
        return operations_pb2.Operation(name=request.name, done=False)

    def _job(self, name: str) -> api.PipelineJob:
        if not name.startswith(f"{PARENT}/pipelineJobs/"):
            raise invalid("name", f"{name} is in another project or region")
        if name not in self.jobs:
            raise Refused(grpc.StatusCode.NOT_FOUND, f"The PipelineJob does not exist: {name}.")
        return self.jobs[name]

    def _schedule(self, name: str) -> api.Schedule:
        if name not in self.schedules:
            raise Refused(grpc.StatusCode.NOT_FOUND, f"The Schedule does not exist: {name}.")
        return self.schedules[name]


def end(job: api.PipelineJob, ending: Ending) -> None:
    """Let a run end; each task took a minute."""
    job.state = getattr(api.PipelineState, f"PIPELINE_STATE_{ending.state}")
    job.start_time, job.end_time = job.create_time, job.create_time + datetime.timedelta(minutes=5)
    details = []
    for number, (task, state) in enumerate(ending.states.items()):
        detail = api.PipelineTaskDetail(
            task_id=number + 1,
            task_name=task,
            state=getattr(api.PipelineTaskDetail.State, state),
            start_time=job.create_time,
        )
        detail.end_time = job.create_time + datetime.timedelta(minutes=1)
        detail.executor_detail.container_detail.main_job = f"{PARENT}/customJobs/{1000 + number}"
        if state == "FAILED":
            detail.error = status_pb2.Status(code=9, message=ending.error)
        for output, uri in ending.artifacts.get(task, {}).items():
            detail.outputs[output] = api.PipelineTaskDetail.ArtifactList(artifacts=[api.Artifact(uri=uri)])
        details.append(detail)
    job.job_detail = api.PipelineJobDetail(task_details=details)
    if ending.state == "FAILED":
        failed = [task for task, state in ending.states.items() if state == "FAILED"]
        job.error = status_pb2.Status(
            code=9, message=f"The DAG failed because some tasks failed. The failed tasks are: {failed}."
        )


def check_job(job: api.PipelineJob) -> None:
    """Refuse what Vertex AI refuses in a run."""
    spec = pipeline_spec_pb2.PipelineSpec()
    plain = json_format.MessageToDict(api.PipelineJob.pb(job).pipeline_spec)
    try:
        json_format.ParseDict(plain, spec)
    except json_format.ParseError as error:
        raise invalid("pipeline_job.pipeline_spec", str(error)) from error
    if spec.schema_version not in ("2.0.0", "2.1.0"):
        raise invalid("pipeline_job.pipeline_spec.schema_version", spec.schema_version)
    if not job.runtime_config.gcs_output_directory.startswith("gs://"):
        raise invalid("pipeline_job.runtime_config.gcs_output_directory", "must be a Cloud Storage path")
    declared = spec.root.input_definitions.parameters
    if spec.schema_version == "2.0.0":
        _check_typed(job, declared)
        return
    if job.runtime_config.parameters:
        raise invalid("pipeline_job.runtime_config.parameters", "is of schema 2.0.0; use parameter_values")
    values = api.PipelineJob.pb(job).runtime_config.parameter_values
    for name, value in values.items():
        if name not in declared:
            raise invalid("pipeline_job.runtime_config.parameter_values", f"{name} is not a parameter")
        if value.WhichOneof("kind") != _TYPES[declared[name].parameter_type]:
            raise invalid("pipeline_job.runtime_config.parameter_values", f"{name} has another type")
    for name, parameter in declared.items():
        if name not in values and not parameter.is_optional:
            raise invalid("pipeline_job.runtime_config.parameter_values", f"{name} is missing")


def _check_typed(job: api.PipelineJob, declared: Mapping[str, Any]) -> None:
    """Refuse parameters that are not in the form of schema 2.0.0: a value has the type that the pipeline names."""
    if api.PipelineJob.pb(job).runtime_config.parameter_values:
        raise invalid("pipeline_job.runtime_config.parameter_values", "is of schema 2.1.0; use parameters")
    kinds = {1: "int_value", 2: "double_value", 3: "string_value"}
    values = api.PipelineJob.pb(job).runtime_config.parameters
    for name in sorted(values.keys() | declared.keys()):
        kind = values[name].WhichOneof("value") if name in values else None
        if name not in declared or kind != kinds[declared[name].type]:
            raise invalid("pipeline_job.runtime_config.parameters", f"{name} is {kind}")


def check_parent(parent: str) -> None:
    if parent != PARENT:
        raise Refused(
            grpc.StatusCode.PERMISSION_DENIED,
            f"Permission denied on resource {parent or '(empty)'}.",
            error_info("CONSUMER_INVALID"),
        )


METHODS: Mapping[str, Mapping[str, tuple[Any, Any]]] = {
    "google.cloud.aiplatform.v1.PipelineService": {
        "CreatePipelineJob": (api.CreatePipelineJobRequest, api.PipelineJob),
        "GetPipelineJob": (api.GetPipelineJobRequest, api.PipelineJob),
        "ListPipelineJobs": (api.ListPipelineJobsRequest, api.ListPipelineJobsResponse),
        "CancelPipelineJob": (api.CancelPipelineJobRequest, empty_pb2.Empty),
    },
    "google.cloud.aiplatform.v1.ScheduleService": {
        "CreateSchedule": (api.CreateScheduleRequest, api.Schedule),
        "ListSchedules": (api.ListSchedulesRequest, api.ListSchedulesResponse),
        "PauseSchedule": (api.PauseScheduleRequest, empty_pb2.Empty),
        "ResumeSchedule": (api.ResumeScheduleRequest, empty_pb2.Empty),
        "DeleteSchedule": (api.DeleteScheduleRequest, operations_pb2.Operation),
    },
    "google.longrunning.Operations": {"GetOperation": (operations_pb2.GetOperationRequest, operations_pb2.Operation)},
}


def _handler(double: Double, name: str, request_type: Any, response_type: Any) -> grpc.RpcMethodHandler:
    def answer(request: Any, context: grpc.ServicerContext) -> Any:
        try:
            metadata = dict(context.invocation_metadata())
            if not double.accepts(str(metadata.get("authorization", "")).removeprefix("Bearer ")):
                raise Refused(grpc.StatusCode.UNAUTHENTICATED, "Request had invalid authentication credentials.")
            raw = getattr(type(request), "pb", lambda message: message)(request)
            if unknown := _unknown(raw):
                raise invalid(unknown, "Unknown name: Cannot find field.")
            if "x-goog-request-params" not in metadata:
                raise invalid("x-goog-request-params", "the request names no region to route it to")
            if refused := double.refuse(name):
                raise refused
            with double._lock:
                double.requests.append(request)
                return getattr(double, name)(request)
        except Refused as refused:
            status = status_pb2.Status(code=_CODES[refused.code], message=refused.message)
            for detail in refused.details:
                status.details.add().Pack(detail)
            context.abort_with_status(rpc_status.to_status(status))

    decode = getattr(request_type, "deserialize", None) or request_type.FromString
    encode = getattr(response_type, "serialize", None) or response_type.SerializeToString
    return grpc.unary_unary_rpc_method_handler(answer, request_deserializer=decode, response_serializer=encode)


def _unknown(message: Any) -> str:
    """Name the first field that the protos do not have, wherever it is."""
    if len(unknown := unknown_fields.UnknownFieldSet(message)):
        return f"{message.DESCRIPTOR.name}.{unknown[0].field_number}"
    for descriptor, value in message.ListFields():
        if descriptor.type == descriptor.TYPE_MESSAGE and not descriptor.message_type.GetOptions().map_entry:
            for inner in value if not hasattr(value, "DESCRIPTOR") else [value]:
                if found := _unknown(inner):
                    return found
    return ""


class Server:
    """The double behind TLS, and beside it Google's token server and Cloud Logging."""

    def __init__(self, folder: Path, double: Double, methods: "Mapping[str, Mapping[str, tuple[Any, Any]]]") -> None:
        self.double = double
        pem, certificate = identity()
        self._certificate, self.roots = certificate, folder / "roots.pem"
        self.roots.write_bytes(certificate)
        self.renew()
        self._grpc = grpc.server(futures.ThreadPoolExecutor(4))
        for service, types_of in methods.items():
            handlers = {name: _handler(self.double, name, *types) for name, types in types_of.items()}
            self._grpc.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
        credentials = grpc.ssl_server_credentials([(pem, certificate)])
        self.address = f"localhost:{self._grpc.add_secure_port('localhost:0', credentials)}"
        self._grpc.start()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _http_handler(self.double))
        self.http = f"http://127.0.0.1:{self._http.server_port}"
        threading.Thread(target=self._http.serve_forever, daemon=True).start()
        self.key_file = folder / "key.json"
        account = {
            "type": "service_account", "project_id": PROJECT, "private_key_id": "1", "private_key": pem.decode(),
            "client_email": f"ci@{PROJECT}.iam.gserviceaccount.com", "client_id": "1",
            "token_uri": f"{self.http}/token",
        }  # fmt: skip
        self.key_file.write_text(json.dumps(account))

    def renew(self) -> None:
        """Forget all that was asked."""
        vars(self.double).update(vars(type(self.double)()))
        self.double.accepts = self._accepts

    def _accepts(self, token: str) -> bool:
        """Accept what the token server gives, and what a service account signs with the key itself."""
        try:
            return token == TOKEN or bool(jwt.decode(token, self._certificate))
        except (ValueError, GoogleAuthError):
            return False

    def close(self) -> None:
        self._grpc.stop(None)
        self._http.shutdown()


def _http_handler(double: Double) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            address = urlsplit(self.path)
            assert address.path == f"/v3/projects/{PROJECT}/timeSeries"
            if not double.monitoring_allowed or self.headers["Authorization"] != f"Bearer {TOKEN}":
                self._send(403, {"error": {"code": 403, "status": "PERMISSION_DENIED"}})
                return
            query = {name: value for name, (value,) in parse_qs(address.query).items()}
            assert query["view"] == "FULL" and query["interval.startTime"] < query["interval.endTime"]
            metric = query["filter"].partition('metric.type="')[2].partition('"')[0]
            series = [entry for kind, entry in double.series if kind == metric]
            asked = [
                entry for entry in series if f'"{entry["metric"]["labels"]["deployed_model_id"]}"' in query["filter"]
            ]
            # Two pages, as many series have.
            first = "pageToken" not in query
            page: dict[str, Any] = {"timeSeries": asked[:1] if first else asked[1:]}
            self._send(200, page | ({"nextPageToken": "2"} if first else {}))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path == "/token" and double.token_refusal is not None:
                self._send(400, {"error": "invalid_grant", "error_description": double.token_refusal})
            elif self.path == "/token":
                self._send(200, {"access_token": TOKEN, "expires_in": 3600, "token_type": "Bearer"})
            elif not double.logs_allowed or self.headers["Authorization"] != f"Bearer {TOKEN}":
                self._send(403, {"error": {"code": 403, "status": "PERMISSION_DENIED"}})
            else:
                query = json.loads(body)
                assert query["resourceNames"] == [f"projects/{PROJECT}"]
                lines = next((lines for job, lines in double.logs.items() if f'job_id="{job}"' in query["filter"]), [])
                # Two pages, as a long log has.
                first = "pageToken" not in query
                page = lines[: len(lines) // 2] if first else lines[len(lines) // 2 :]
                answer: dict[str, Any] = {"entries": [{"jsonPayload": {"message": line}} for line in page]}
                self._send(200, answer | ({"nextPageToken": "2"} if first else {}))

        def _send(self, status: int, answer: Any) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *arguments: Any) -> None:
            pass

    return Handler


@functools.cache
def identity() -> tuple[bytes, bytes]:
    """Make a key and its certificate, once in a process: gRPC reads the roots that it trusts once."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return pem, _certificate(key)


def _certificate(key: rsa.RSAPrivateKey) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM)
