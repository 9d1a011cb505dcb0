"""Reach Vertex AI Pipelines as a target file says."""

import functools
import os
from typing import TYPE_CHECKING, Any

from components.shared import vertex
from components.shared.errors import InputError
from components.shared.vertex import TIMEOUT_S
from pipelines.targets.model import Vertex

if TYPE_CHECKING:
    from google.cloud.aiplatform_v1 import PipelineServiceClient, ScheduleServiceClient

_PAGE = 1000
_MOST_PAGES = 20


class Server(vertex.Connection):
    """Vertex AI in the project and region of a target; each of its services is opened when it is first asked."""

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
        super().__init__(target.project, target.region, target.api_endpoint)
        self.target = target

    @functools.cached_property
    def pipelines(self) -> "PipelineServiceClient":
        """Runs of pipelines."""
        from google.cloud.aiplatform_v1 import PipelineServiceClient

        return PipelineServiceClient(**self.options)

    @functools.cached_property
    def schedules(self) -> "ScheduleServiceClient":
        """Schedules, which have a service of their own."""
        from google.cloud.aiplatform_v1 import ScheduleServiceClient

        return ScheduleServiceClient(**self.options)

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


def _line(entry: dict[str, Any]) -> str:
    payload = entry.get("jsonPayload", {})
    return str(entry.get("textPayload") or payload.get("message") or payload or "").rstrip("\n")
