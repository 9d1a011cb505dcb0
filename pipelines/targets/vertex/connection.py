"""Reach Vertex AI as a target file says, and turn what goes wrong on the way into one sentence."""

import contextlib
import functools
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from components.shared.errors import InputError, PerennialError, StepFailed
from pipelines.targets.model import Vertex

if TYPE_CHECKING:
    from google.api_core.exceptions import GoogleAPICallError
    from google.api_core.retry import Retry
    from google.cloud.aiplatform_v1 import PipelineServiceClient, ScheduleServiceClient

_SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
TIMEOUT_S = 60.0
"""Longest wait for the answer to one request."""
_PAGE = 1000
_MOST_PAGES = 20


class Server:
    """Vertex AI in one project and one region.

    The SDK takes seconds to import, so each of its services is opened when it is first asked.
    """

    def __init__(self, target: Vertex) -> None:
        """Read the credentials; nothing is asked yet.

        Raises:
            InputError: If the target names no project, or there are no credentials.
        """
        if not target.project:
            raise InputError(
                "the target names no project; expected the id of a Google Cloud project. Write it to "
                "targets/vertex.yaml next to project.yaml, or add --set project=my-project."
            )
        # On a machine without gRPC's fork handlers nothing is lost, and they write to the screen.
        os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
        self.target = target
        self.parent = f"projects/{target.project}/locations/{target.region}"
        self.host = target.api_endpoint or f"{target.region}-aiplatform.googleapis.com"
        self.credentials = self._credentials()

    @functools.cached_property
    def pipelines(self) -> "PipelineServiceClient":
        """Runs of pipelines."""
        from google.cloud.aiplatform_v1 import PipelineServiceClient

        return PipelineServiceClient(credentials=self.credentials, client_options={"api_endpoint": self.host})

    @functools.cached_property
    def schedules(self) -> "ScheduleServiceClient":
        """Schedules, which have a service of their own."""
        from google.cloud.aiplatform_v1 import ScheduleServiceClient

        return ScheduleServiceClient(credentials=self.credentials, client_options={"api_endpoint": self.host})

    @functools.cached_property
    def retry(self) -> "Retry":
        """What a busy server or a broken connection loses comes back; for requests that change nothing."""
        from google.api_core import exceptions
        from google.api_core.retry import Retry, if_exception_type

        lost = if_exception_type(exceptions.ServiceUnavailable, exceptions.TooManyRequests)
        return Retry(predicate=lost, initial=0.5, maximum=8, timeout=20)

    @contextlib.contextmanager
    def asked(self, what: str) -> Iterator[None]:
        """Make one request; ``what`` it is for completes "Vertex AI would not ...".

        Raises:
            InputError: If it refuses us.
            StepFailed: If it does not answer, fails, or has no quota left.
        """
        from google.api_core.exceptions import GoogleAPICallError, RetryError
        from google.auth.exceptions import GoogleAuthError

        try:
            yield
        except RetryError as error:
            raise self._unreachable(str(error.cause or error)) from None
        except GoogleAPICallError as error:
            raise self._refused(error, what) from None
        except GoogleAuthError as error:
            raise self._rejected(str(error)) from None

    def log(self, job_id: str) -> str:
        """Read the log of a custom job, a line per entry; empty where it is not allowed or there is none.

        Args:
            job_id: The last part of the job's name.
        """
        import requests
        from google.auth.exceptions import GoogleAuthError
        from google.auth.transport.requests import AuthorizedSession

        query = {
            "resourceNames": [f"projects/{self.target.project}"],
            "filter": f'resource.type="ml_job" AND resource.labels.job_id="{job_id}"',
            "orderBy": "timestamp asc",
            "pageSize": _PAGE,
        }
        lines: list[str] = []
        try:
            session: requests.Session
            with AuthorizedSession(self.credentials) as session:  # type: ignore[no-untyped-call]
                for _ in range(_MOST_PAGES):
                    answer = session.post(f"{self.target.logging_url}/v2/entries:list", json=query, timeout=TIMEOUT_S)
                    answer.raise_for_status()
                    page = answer.json()
                    lines += [_line(entry) for entry in page.get("entries", ())]
                    if not page.get("nextPageToken"):
                        break
                    query["pageToken"] = page["nextPageToken"]
        except (requests.RequestException, GoogleAuthError, ValueError):
            # Who may run pipelines need not be allowed to read logs; the link remains.
            pass
        return "".join(f"{line}\n" for line in lines)

    def link(self, path: str) -> str:
        """Return the address of a page of Google's console."""
        return f"https://console.cloud.google.com/{path}?project={self.target.project}"

    def _credentials(self) -> Any:
        import google.auth
        from google.auth.exceptions import GoogleAuthError

        try:
            credentials, _ = google.auth.default(scopes=_SCOPES)
        except GoogleAuthError as error:
            raise self._rejected(str(error)) from None
        return credentials

    def _rejected(self, why: str) -> InputError:
        return InputError(
            f"Google's credentials are missing, invalid or expired ({_sentence(why)}); run 'gcloud auth "
            "application-default login', or set GOOGLE_APPLICATION_CREDENTIALS to a service account's key."
        )

    def _unreachable(self, why: str) -> StepFailed:
        return StepFailed(
            f"Vertex AI does not answer at {self.host} ({_sentence(why)}); check 'region' in the target file, and the "
            "network."
        )

    def _refused(self, error: "GoogleAPICallError", what: str) -> PerennialError:
        from google.api_core import exceptions

        target, message = self.target, _sentence(error.message)
        if isinstance(error, exceptions.Unauthenticated):
            return self._rejected(error.message)
        if isinstance(error, exceptions.ServiceUnavailable | exceptions.DeadlineExceeded | exceptions.GatewayTimeout):
            return self._unreachable(error.message)
        if error.reason == "SERVICE_DISABLED":
            return InputError(
                f"Vertex AI is disabled in project {target.project}; run 'gcloud services enable "
                f"aiplatform.googleapis.com --project {target.project}'."
            )
        if error.reason in ("CONSUMER_INVALID", "USER_PROJECT_DENIED", "RESOURCE_PROJECT_INVALID"):
            return InputError(
                f"the project {target.project!r} does not exist, or you have no access to it ({message}); correct "
                "'project' in the target file, or ask for access."
            )
        if isinstance(error, exceptions.TooManyRequests):
            return StepFailed(
                f"Vertex AI would not {what}: a quota of project {target.project} in {target.region} is used up "
                f"({message}); wait, or ask for more at {self.link('iam-admin/quotas')}."
            )
        if isinstance(error, exceptions.Forbidden):
            return InputError(
                f"Vertex AI would not {what} in project {target.project}: you lack the permission ({message}); ask for "
                "the role roles/aiplatform.user."
            )
        fields = "".join(f"; {violation}" for violation in _violations(error))
        refusal = f"Vertex AI would not {what}: {message}{fields} ({type(error).__name__})."
        return StepFailed(refusal) if isinstance(error, exceptions.ServerError) else InputError(refusal)


def _violations(error: "GoogleAPICallError") -> Iterator[str]:
    """List the fields that the server names in its details (google.rpc.BadRequest)."""
    for detail in error.details:
        for violation in getattr(detail, "field_violations", ()):
            yield f"{violation.field}: {_sentence(violation.description)}"


def _line(entry: dict[str, Any]) -> str:
    payload = entry.get("jsonPayload", {})
    return str(entry.get("textPayload") or payload.get("message") or payload or "").rstrip("\n")


def _sentence(text: str) -> str:
    return " ".join(text.split())[:400].rstrip(".")
