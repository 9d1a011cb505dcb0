"""Reach Vertex AI in one project and region, and turn what goes wrong on the way into one sentence."""

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from components.shared.errors import InputError, PerennialError, StepFailed

if TYPE_CHECKING:
    from google.api_core.exceptions import GoogleAPICallError
    from google.api_core.retry import Retry

_SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
# What gRPC says, as if the server did not answer, when a login has expired or was revoked.
_NO_TOKEN = "Getting metadata from plugin failed with error"
TIMEOUT_S = 60.0
"""Longest wait for the answer to one request."""


class Connection:
    """Vertex AI in one project and one region; the SDK takes seconds to import, so it is imported when it is needed.

    Args:
        project: Id of the Google Cloud project.
        region: The region.
        api_endpoint: Host and port of the API; None is Google's own in the region.

    Raises:
        InputError: If there are no credentials; nothing else is asked yet.
    """

    def __init__(self, project: str, region: str, api_endpoint: str | None = None) -> None:
        self.project, self.region = project, region
        self.parent = f"projects/{project}/locations/{region}"
        self.host = api_endpoint or f"{region}-aiplatform.googleapis.com"
        self.credentials = self._credentials()
        self.guard: Callable[[], None] = lambda: None
        """Called before each request; raises where this process may go on no longer."""

    @property
    def options(self) -> dict[str, Any]:
        """What every client of the SDK is opened with."""
        return {"credentials": self.credentials, "client_options": {"api_endpoint": self.host}}

    @functools.cached_property
    def retry(self) -> "Retry":
        """What a busy server or a broken connection loses comes back; for requests that change nothing."""
        from google.api_core import exceptions
        from google.api_core.retry import Retry, if_exception_type

        lost = if_exception_type(exceptions.ServiceUnavailable, exceptions.TooManyRequests)
        return Retry(
            predicate=lambda error: lost(error) and _NO_TOKEN not in str(error), initial=0.5, maximum=8, timeout=20
        )

    @contextlib.contextmanager
    def asked(self, what: str) -> Iterator[None]:
        """Make one request; ``what`` it is for completes "Vertex AI would not ...".

        Raises:
            InputError: If it refuses us.
            StepFailed: If it does not answer, fails, or has no quota left.
        """
        from google.api_core.exceptions import GoogleAPICallError, RetryError
        from google.auth.exceptions import GoogleAuthError

        self.guard()
        try:
            yield
        except RetryError as error:
            raise self._unreachable(str(error.cause or error)) from None
        except GoogleAPICallError as error:
            raise self._refused(error, what) from None
        except GoogleAuthError as error:
            raise self._rejected(str(error)) from None

    def failure(self, status: Any, what: str) -> StepFailed:
        """Return why a long-running operation failed, from its ``google.rpc.Status``."""
        from google.api_core import exceptions

        error: Any = exceptions.from_grpc_status(status.code, status.message)  # type: ignore[no-untyped-call]
        return StepFailed(str(self._refused(error, what)))

    def link(self, path: str) -> str:
        """Return the address of a page of Google's console."""
        return f"https://console.cloud.google.com/{path}?project={self.project}"

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

        message = _sentence(error.message)
        if isinstance(error, exceptions.Unauthenticated) or _NO_TOKEN in message:
            return self._rejected(error.message.partition(_NO_TOKEN)[2].lstrip(": ") or error.message)
        if isinstance(error, exceptions.ServiceUnavailable | exceptions.DeadlineExceeded | exceptions.GatewayTimeout):
            return self._unreachable(error.message)
        if error.reason == "SERVICE_DISABLED":
            return InputError(
                f"Vertex AI is disabled in project {self.project}; run 'gcloud services enable "
                f"aiplatform.googleapis.com --project {self.project}'."
            )
        if error.reason in ("CONSUMER_INVALID", "USER_PROJECT_DENIED", "RESOURCE_PROJECT_INVALID"):
            return InputError(
                f"the project {self.project!r} does not exist, or you have no access to it ({message}); correct "
                "'project' in the target file, or ask for access."
            )
        if isinstance(error, exceptions.TooManyRequests):
            return StepFailed(
                f"Vertex AI would not {what}: a quota of project {self.project} in {self.region} is used up "
                f"({message}); wait, or ask for more at {self.link('iam-admin/quotas')}."
            )
        if isinstance(error, exceptions.Forbidden):
            return InputError(
                f"Vertex AI would not {what} in project {self.project}: you lack the permission ({message}); ask for "
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


def _sentence(text: str) -> str:
    return " ".join(text.split())[:400].rstrip(".")
