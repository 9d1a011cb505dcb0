"""Reach a Kubeflow Pipelines server as a target file says, and turn what goes wrong on the way into one sentence."""

import contextlib
import io
import json
import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any

import urllib3

from components.shared.errors import InputError, PerennialError, StepFailed
from pipelines.targets.model import Kfp

# Where a cluster puts the token that KFP's own components take.
_TOKEN_PATH = "/var/run/secrets/kubeflow/pipelines/token"
_DEFAULT_ENV = {"token": "PERENNIAL_KFP_TOKEN", "cookie": "PERENNIAL_KFP_COOKIE"}
_TIMEOUT = urllib3.Timeout(connect=10, read=60)
# What a port-forward, a restart of the server or an ingress loses comes back within a minute; a POST that may have
# arrived is never sent twice.
_RETRIES = urllib3.Retry(
    total=8,
    redirect=0,
    raise_on_redirect=False,
    raise_on_status=False,
    status_forcelist=(502, 503, 504),
    allowed_methods=("GET",),
    backoff_factor=0.5,
    backoff_max=15,
)


class NotAtServer(InputError):
    """The server does not have what it was asked about."""


class Server:
    """One server; ``client`` is kfp's own."""

    def __init__(self, target: Kfp) -> None:
        """Connect.

        Raises:
            InputError: If something else answers, it refuses us, or it is too old.
            StepFailed: If nothing answers.
        """
        self.target, self.host = target, _with_scheme(target.host)
        # It would tell of each retry, in the midst of the run's view.
        logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
        self.version = self._probe()
        # kfp prints, warns and keeps a file of its own under HOME, from which nothing is taken here.
        with warnings.catch_warnings(action="ignore"), contextlib.redirect_stdout(io.StringIO()):
            import kfp
            from kfp.client import ServiceAccountTokenVolumeCredentials

            credentials = None
            if target.auth.kind == "service_account":
                credentials = ServiceAccountTokenVolumeCredentials(target.auth.token_path)
            self.client = kfp.Client(
                host=self.host,
                namespace=target.namespace,
                existing_token=self._secret() if target.auth.kind == "token" else None,
                cookies=self._secret() if target.auth.kind == "cookie" else "",
                credentials=credentials,
            )
        self._api = self.client._run_api.api_client
        self._api.rest_client.pool_manager.connection_pool_kw.update(retries=_RETRIES, timeout=_TIMEOUT)

    @contextlib.contextmanager
    def asked(self, what: str) -> Iterator[Any]:
        """Give kfp's client for one request; ``what`` it is for completes "the server would not ...".

        Raises:
            InputError: If it refuses us.
            StepFailed: If it fails, or can't be reached any more.
        """
        import kfp_server_api

        try:
            with contextlib.redirect_stdout(io.StringIO()):
                yield self.client
        except kfp_server_api.ApiException as error:
            raise self._refused(error.status, error.body or error.reason, what) from None
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise self._unreachable(error) from None

    def get(self, path: str) -> bytes:
        """Read what kfp's client has no method for, with its credentials.

        Raises:
            kfp_server_api.ApiException: If the server does not give it.
        """
        response = self._api.call_api(
            path, "GET", auth_settings=["Bearer"], _preload_content=False, _return_http_data_only=True
        )
        return bytes(response.data)

    def _probe(self) -> str:
        """Ask for the server's health, which costs it nothing, and return its version."""
        try:
            response = urllib3.PoolManager().request(
                "GET",
                f"{self.host}/apis/v2beta1/healthz",
                headers=self._headers(),
                retries=False,
                redirect=False,
                timeout=urllib3.Timeout(connect=5, read=15),
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise self._unreachable(error) from None
        if response.status != HTTPStatus.OK:
            raise self._refused(response.status, response.data, "report its health")
        try:
            health = json.loads(response.data)
            version, _ = str(health["tag_name"]), health["multi_user"]
        except (ValueError, KeyError, TypeError):
            raise self._stranger() from None
        self._check_version(version)
        return version

    def _check_version(self, version: str) -> None:
        from importlib.metadata import version as installed

        sdk = installed("kfp")
        theirs, ours = _numbers(version), _numbers(sdk)
        if theirs and ours and (theirs < ours or theirs[0] != ours[0]) and not self.target.any_version:
            raise InputError(
                f"the server at {self.host} is Kubeflow Pipelines {version}, this command speaks {sdk}; expected "
                f"{ours[0]}.{ours[1]} or a later {ours[0]}.x. Upgrade the server, or set any_version: true in the "
                "target file and accept that it lacks newer features."
            )

    def _headers(self) -> Mapping[str, str]:
        kind = self.target.auth.kind
        if kind == "cookie":
            return {"Cookie": self._secret()}
        return {} if kind == "none" else {"Authorization": f"Bearer {self._secret()}"}

    def _secret(self) -> str:
        """Read token or cookie."""
        auth = self.target.auth
        if auth.kind == "service_account":
            path = auth.token_path or os.environ.get("KF_PIPELINES_SA_TOKEN_PATH") or _TOKEN_PATH
            try:
                with open(path, encoding="utf-8") as stream:
                    return stream.read().strip()
            except OSError:
                raise InputError(
                    f"there is no service account's token at {path}; expected to run in a pod that projects one "
                    "(audience pipelines.kubeflow.org). Name its path in auth.token_path, or take another auth.kind."
                ) from None
        name = auth.env or _DEFAULT_ENV[auth.kind]
        value = os.environ.get(name, "").strip()
        if not value:
            raise InputError(f"the variable {name} is not set; expected the {auth.kind} for {self.host}. Set it.")
        return value

    def _unreachable(self, error: Exception) -> StepFailed:
        reason = " ".join(str(getattr(error, "reason", None) or error).split())
        reason = reason.rpartition(": ")[2] or type(error).__name__
        return StepFailed(
            f"no server answers at {self.host} ({reason}); expected Kubeflow Pipelines. Check 'host' in the target "
            f"file; without an ingress also run 'kubectl -n {self.target.namespace} port-forward svc/ml-pipeline 8888'."
        )

    def _stranger(self) -> InputError:
        return InputError(
            f"what answers at {self.host} is not the API of Kubeflow Pipelines 2; expected its address. Check 'host' "
            "in the target file; behind Kubeflow's dashboard it ends with /pipeline."
        )

    def _refused(self, status: int, body: Any, what: str) -> PerennialError:
        kind, message = self.target.auth.kind, _message(body)
        proof = {
            "none": "a request without a login (auth.kind: none)",
            "service_account": "the service account's token",
        }.get(kind, f"the {kind}")
        if status in (301, 302, 303, 307, 308, HTTPStatus.UNAUTHORIZED):
            variable = self.target.auth.env or _DEFAULT_ENV.get(kind)
            again = f"log in again and set {variable}" if variable else "log in again"
            return InputError(
                f"the server at {self.host} rejected {proof} (missing, invalid or expired); {again}. "
                "'auth' in the target file says which credentials are sent."
            )
        if status == HTTPStatus.FORBIDDEN:
            return InputError(
                f"the server at {self.host} would not {what} in namespace {self.target.namespace}: you lack the "
                f"permission ({message}); ask for it, or name another namespace in the target file."
            )
        if status == HTTPStatus.NOT_FOUND and what == "report its health":
            return self._stranger()
        refusal = f"the server at {self.host} would not {what}: {message} (HTTP {status})."
        if status == HTTPStatus.NOT_FOUND:
            return NotAtServer(refusal)
        return InputError(refusal) if 400 <= status < 500 else StepFailed(refusal)


def _with_scheme(host: str) -> str:
    return (host if "://" in host else f"https://{host}").rstrip("/")


def _numbers(version: str) -> tuple[int, int] | None:
    major, _, rest = version.removeprefix("v").partition(".")
    minor = rest.partition(".")[0]
    return (int(major), int(minor)) if major.isdigit() and minor.isdigit() else None


def _message(body: Any) -> str:
    """Take the sentence out of the server's answer, which repeats it in every layer that passed it on."""
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else str(body)
    try:
        parsed = json.loads(text)
        text = str(parsed.get("message") or parsed.get("error") or text)
    except (ValueError, AttributeError):
        pass
    return " ".join(text.split())[:300].rstrip(".")
