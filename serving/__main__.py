"""``python -m serving``: serve an endpoint's folder, or one model package.

On a laptop: ``python -m serving --endpoint DIR --port N --grpc-port N``; the folder names the releases.
In a pod: ``python -m serving --model-dir /mnt/models --name NAME --host 0.0.0.0 --port 8080 --grpc-port 8081
--authenticated-by gateway``.
On Vertex AI: its variables ``AIP_*`` name the port, two more routes, and the model package in a bucket.
"""

import argparse
import contextlib
import logging
import os
import secrets
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from components.shared.errors import DISK_FULL, InputError, PerennialError, StepFailed, is_disk_full
from components.shared.release import endpoint_folder
from components.shared.release.endpoint_folder import EndpointServer
from serving import open_inference
from serving.server_log import ServerLog

if TYPE_CHECKING:
    from serving.exchange import Exchange
    from serving.identity import Identities
    from serving.server import Listening
    from serving.vertex import VertexContainer


_SHIPPED_SEGMENT_S = 1.0


def main() -> int:
    """Serve until the process is asked to end; return the exit code."""
    arguments = _parser(has_package=bool(os.environ.get("AIP_STORAGE_URI"))).parse_args()
    open_inference.import_alone()
    try:
        _log_to(arguments.server_log)
        if arguments.endpoint:
            _serve_endpoint(arguments)
        else:
            from serving.vertex import VertexContainer

            _serve_package(arguments, VertexContainer.read(os.environ))
    except PerennialError as reason:
        return _say(reason)
    except OSError as error:
        if is_disk_full(error):
            return _say(StepFailed(DISK_FULL))
        raise
    return 0


def _log_to(path: Path | None) -> None:
    handler = logging.StreamHandler() if path is None else ServerLog(path)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", handlers=[handler]
    )


def _say(reason: PerennialError) -> int:
    """Print a sentence by which whoever started the server knows its class; return the exit code."""
    with contextlib.suppress(OSError):
        print(f"{type(reason).__name__}: {reason}", file=sys.stderr, flush=True)
    return reason.exit_code


def _serve_endpoint(arguments: argparse.Namespace) -> None:
    endpoint: Path = arguments.endpoint.absolute()
    endpoint.mkdir(parents=True, exist_ok=True)
    with endpoint_folder.serving(endpoint):
        from serving.exchange import Exchange
        from serving.exploration import Exploration
        from serving.rollout import Rollout
        from serving.served import Served
        from serving.server import ModelServerProcess
        from serving.shadows import mirrored

        # A folder that is moved while it is served is still this process's current one.
        os.chdir(endpoint)
        here = Path()
        served = Served()
        exchange = Exchange(served)
        exchange.exploration = Exploration(dict(arguments.explore))
        key = _admit(exchange, arguments)
        _log_requests(exchange, arguments)
        _look_up(exchange, arguments)
        rollout = Rollout(here, served, mirrored(exchange), arguments.signed_by)
        server = ModelServerProcess(exchange, _listening(arguments), owned=arguments.owned)

        def announce(where: EndpointServer | None) -> None:
            endpoint_folder.write_server(here, where and where.model_copy(update={"key": key}))

        server.run(rollout.settle, rollout.follow, announce)


def _serve_package(arguments: argparse.Namespace, vertex: "VertexContainer | None") -> None:
    from components.shared.files import sha256
    from components.shared.package.integrity import MANIFEST
    from serving.exchange import Exchange
    from serving.exploration import Exploration
    from serving.release import ServedRelease
    from serving.served import Served
    from serving.server import ModelServerProcess

    served = Served()

    async def settle() -> None:
        version = arguments.version or sha256(package / MANIFEST)[:12]
        release = ServedRelease(package, arguments.name, version, arguments.manifest_sha256, arguments.signed_by)
        release.warm()
        served.loaded[version] = release
        exchange.counter.always(version)
        served.activate(release)

    exchange = Exchange(served)
    exchange.exploration = Exploration(dict(arguments.explore))
    _admit(exchange, arguments)
    _log_requests(exchange, arguments)
    _look_up(exchange, arguments)
    server = ModelServerProcess(exchange, _listening(arguments, vertex), owned=arguments.owned)
    with _package(arguments, vertex) as package:
        server.run(settle)


@contextlib.contextmanager
def _package(arguments: argparse.Namespace, vertex: "VertexContainer | None") -> Iterator[Path]:
    """Give the folder of the model package; one in a bucket is copied into a temporary folder."""
    if vertex is None or vertex.storage_uri is None:
        yield arguments.model_dir
        return
    from components.shared import cloud_storage

    # Google's own libraries find an emulator by this variable.
    origin = os.environ.get("STORAGE_EMULATOR_HOST") or cloud_storage.ORIGIN
    storage = cloud_storage.CloudStorage(cloud_storage.open_session(cloud_storage.READ), origin)
    with tempfile.TemporaryDirectory() as scratch:
        package = Path(scratch) / "package"
        storage.copy_from(vertex.storage_uri, package)
        yield package


def _admit(exchange: "Exchange", arguments: argparse.Namespace) -> str | None:
    """Let clients in by their tokens; return the further one for the commands on this machine.

    Raises:
        InputError: If the server would answer anybody on a network, or a file or a provider is not as expected.
        StepFailed: If the identity provider does not answer.
    """
    from serving.access import Admission, Tokens, check_exposure
    from serving.rates import Rate, Rates

    identities = _identities(arguments)
    has_tokens = arguments.tokens is not None or identities is not None
    check_exposure(arguments.host, has_tokens=has_tokens, authenticated_by=arguments.authenticated_by)
    if not has_tokens:
        if arguments.rate or arguments.rate_mib:
            raise InputError("a rate is that of a token; give the server tokens (--tokens FILE) to limit them.")
        return None
    key = secrets.token_hex(32)
    rate = Rate(arguments.rate, None if arguments.rate_mib is None else arguments.rate_mib * 2**20)
    rates = None if rate == Rate() else Rates(rate)
    exchange.admission = Admission(Tokens(arguments.tokens, key), rates, identities)
    return key


def _identities(arguments: argparse.Namespace) -> "Identities | None":
    """Return who knows the clients of an identity provider, None without one."""
    issuer, audience, keys = arguments.oidc_issuer, arguments.oidc_audience, arguments.oidc_keys
    if issuer is None and audience is None and keys is None:
        return None
    if issuer is None or audience is None:
        raise InputError(
            "an identity provider needs --oidc-issuer and --oidc-audience: otherwise tokens that it gave for another "
            "service would count here."
        )
    # Most servers need no cryptography.
    from serving.identity import Identities, Provider, keys_of_file, keys_of_provider

    provider = Provider((lambda: keys_of_provider(issuer)) if keys is None else (lambda: keys_of_file(keys)))
    return Identities(provider, issuer, audience)


def _listening(arguments: argparse.Namespace, vertex: "VertexContainer | None" = None) -> "Listening":
    from serving.connection import ConnectionLimits, affordable_connections
    from serving.server import Listening

    limits = ConnectionLimits(connections=affordable_connections(), per_client=arguments.connections_per_client)
    port, routes = (arguments.port, None) if vertex is None else (vertex.port, vertex.routes)
    return Listening(arguments.host, port, arguments.grpc_port, arguments.metrics_port, limits, routes)


def _log_requests(exchange: "Exchange", arguments: argparse.Namespace) -> None:
    if arguments.access_log is not None:
        from serving.access_log import AccessLog

        exchange.accesses = AccessLog(None if str(arguments.access_log) == "-" else arguments.access_log.absolute())
    if arguments.log_dir is None:
        return
    from components.shared.inference_log.policy import LogPolicy
    from serving.inference_log import InferenceLog
    from serving.shipping import CollectedLog, Shipper

    policy = LogPolicy(arguments.log_sample, frozenset(arguments.log_redact))
    if arguments.log_collector is None:
        exchange.log = InferenceLog(arguments.log_dir, policy)
    else:
        # A killed pod loses what it has not sent, so segments are short.
        log = InferenceLog(arguments.log_dir, policy, segment_s=_SHIPPED_SEGMENT_S)
        exchange.log = CollectedLog(log, Shipper(arguments.log_dir, arguments.log_collector, arguments.name))


def _look_up(exchange: "Exchange", arguments: argparse.Namespace) -> None:
    if arguments.feature_server is None:
        return
    from serving.online.feature_server import FeatureServer
    from serving.online.lookups import Lookups

    server = FeatureServer(arguments.feature_server, arguments.lookup_timeout_s)
    exchange.lookups = Lookups(server, arguments.request_feature)


def _parser(*, has_package: bool = False) -> argparse.ArgumentParser:
    """Describe the options; a model package in a bucket, which the environment names, replaces ``--model-dir``."""
    parser = argparse.ArgumentParser(prog="python -m serving", description=__doc__, allow_abbrev=False)
    source = parser.add_mutually_exclusive_group(required=not has_package)
    source.add_argument("--endpoint", type=Path, help="folder that names the releases")
    source.add_argument("--model-dir", type=Path, help="one model package, served as it is")
    parser.add_argument("--name", default="model", help="name of the model of --model-dir")
    parser.add_argument("--version", help="version of the model of --model-dir; default: from its manifest's hash")
    parser.add_argument(
        "--manifest-sha256", help="hash of the manifest of --model-dir as registered; refused if it differs"
    )
    parser.add_argument(
        "--signed-by",
        action="append",
        default=[],
        metavar="PEM",
        help="public key, one of which must have signed every model; default: unsigned ones are served, too",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; default: loopback")
    parser.add_argument("--port", type=int, default=8080, help="REST port, 0 for any free one")
    parser.add_argument("--grpc-port", type=int, help="gRPC port, 0 for any free one; no gRPC without it")
    parser.add_argument(
        "--metrics-port",
        type=int,
        help="port of the metrics, for a network of their own without a token; default: the REST port",
    )
    parser.add_argument(
        "--connections-per-client", type=_positive, metavar="N", help="most connections of one address; default: any"
    )
    parser.add_argument("--tokens", type=_absolute, metavar="FILE", help="accepted bearer tokens, one a line")
    parser.add_argument("--oidc-issuer", metavar="URL", help="OpenID Connect provider whose tokens are accepted")
    parser.add_argument("--oidc-audience", metavar="NAME", help="audience that such tokens must have")
    parser.add_argument(
        "--oidc-keys", type=_absolute, metavar="FILE", help="JSON Web Key Set; default: fetched from the provider"
    )
    parser.add_argument("--rate", type=_above_zero, metavar="N", help="most requests per second of each token")
    parser.add_argument("--rate-mib", type=_above_zero, metavar="N", help="most MiB of bodies per second of each token")
    parser.add_argument(
        "--authenticated-by", metavar="WHAT", help="what authenticates in front of a server beyond loopback"
    )
    parser.add_argument("--log-dir", type=_absolute, help="folder of the inference log; no log without it")
    parser.add_argument("--log-collector", metavar="URL", help="collector that the log is sent to, from --log-dir")
    parser.add_argument(
        "--access-log", type=Path, metavar="FILE", help="a line per request, without its features; -: standard output"
    )
    parser.add_argument(
        "--server-log", type=_absolute, metavar="FILE", help="what the server says, rotated by size; default: stderr"
    )
    parser.add_argument("--log-sample", type=_share, default=1.0, help="share of the requests to log; default: all")
    parser.add_argument("--log-redact", action="append", default=[], metavar="FEATURE", help="feature never to log")
    parser.add_argument(
        "--feature-server", metavar="URL", help="Feast's feature server, for features that requests leave out"
    )
    parser.add_argument(
        "--request-feature",
        action="append",
        default=[],
        metavar="FEATURE",
        help="feature that only clients know, and that is never looked up",
    )
    parser.add_argument(
        "--lookup-timeout-s", type=_above_zero, default=1.0, help="longest wait for the feature server; default: 1"
    )
    parser.add_argument(
        "--explore",
        type=_explored,
        action="append",
        default=[],
        metavar="DECISION=SHARE",
        help="decision of which a random share is answered with the other class",
    )
    parser.add_argument("--owned", action="store_true", help="end when standard input closes")
    return parser


def _absolute(text: str) -> Path:
    return Path(text).absolute()


def _explored(text: str) -> tuple[str, float]:
    decision, _, share = text.rpartition("=")
    if not decision or not 0 < float(share) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not DECISION=SHARE with a share above 0 and below 1")
    return decision, float(share)


def _above_zero(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return number


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return number


def _share(text: str) -> float:
    share = float(text)
    if not 0 < share <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0 and at most 1")
    return share


if __name__ == "__main__":
    sys.exit(main())
