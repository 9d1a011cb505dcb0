"""The runs and schedules of a Kubeflow Pipelines server, as far as they name files."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any

from pipelines.definitions import catalog
from pipelines.targets.kfp import artifacts, submission
from pipelines.targets.kfp import workflow as manifest
from pipelines.targets.kfp.connection import Server
from pipelines.targets.kfp.following import ENDED
from pipelines.targets.remote.submission import pipeline_name

_PAGE = 200


@dataclass(frozen=True)
class ServerRun:
    """A run, or a schedule, which has no state."""

    id: str
    name: str
    state: str | None
    pipeline_id: str | None
    created: datetime
    paths: frozenset[str]
    """The parameters that are addresses, as paths; see ``path_of``."""

    @property
    def is_under_way(self) -> bool:
        """Return whether a run may still read and write."""
        return self.state not in ENDED


@dataclass(frozen=True)
class RunFiles:
    """Where a run's own files are (None: it wrote none), and which paths of any run it has read or written.

    ``is_known`` is False if the server does not tell, or no more.
    """

    folder: str | None
    used: frozenset[str]
    is_known: bool = True


class ServerRuns:
    """Lists what a server has.

    Every method raises InputError if the server refuses, and StepFailed if it does not answer.

    Args:
        server: The server.
    """

    def __init__(self, server: Server) -> None:
        self._server = server

    def everything(self) -> list[ServerRun]:
        """List the runs of all experiments: a bundle has the name of its content, whoever uses it."""
        runs = self._of_experiments("runs", self._server.client.list_runs)
        return [_server_run(run, run.run_id, run.state or "PENDING") for run in runs]

    def schedules(self) -> list[ServerRun]:
        """List the schedules of all experiments."""
        schedules = self._of_experiments("recurring_runs", self._server.client.list_recurring_runs)
        return [_server_run(schedule, schedule.recurring_run_id, None) for schedule in schedules]

    def of_project(
        self, project: str, runs: Sequence[ServerRun], is_of_project: Callable[[ServerRun], bool]
    ) -> list[ServerRun]:
        """Select the runs of a project's pipelines, the newest first.

        Args:
            project: The project's name.
            runs: Of all projects.
            is_of_project: Decides about a run whose pipeline has the name of another project's, too: the pipeline
                ``tfx-training`` of the project ``a`` is called like the pipeline ``training`` of ``a-tfx``.
        """
        own = []
        for entry in catalog.PIPELINES:
            pipeline_id = submission.find_pipeline(self._server, pipeline_name(project, entry))
            is_ambiguous = any(entry.endswith(f"-{other}") for other in catalog.PIPELINES)
            of_entry = [run for run in runs if pipeline_id and run.pipeline_id == pipeline_id]
            own += [run for run in of_entry if not is_ambiguous or is_of_project(run)]
        return sorted(own, key=lambda run: run.created, reverse=True)

    def files(self, run: ServerRun) -> RunFiles:
        """Read from a run's workflow where its files are."""
        with self._server.asked("show a run's workflow"):
            workflow = manifest.read(self._server.get(f"/apis/v1beta1/runs/{run.id}"))
        # The addresses that its drivers handed out, also to steps that failed.
        own = re.search(rf'[a-z0-9]+://([^"\\\s]+)/{run.id}/', json.dumps(workflow.nodes))
        folder = f"{own[1]}/{run.id}" if own else None
        # A run that failed before its first pod has no nodes; one that succeeded had some.
        is_known = workflow.is_whole and bool(workflow.nodes or run.state != "SUCCEEDED")
        return RunFiles(folder, frozenset(path_of(uri) for uri in artifacts.located(workflow).values()), is_known)

    def delete(self, run: ServerRun) -> None:
        """Delete a run, and with it what the cache knows of its tasks; one that is not there is deleted already."""
        import kfp_server_api

        with self._server.asked("delete a run") as client:
            try:
                client.delete_run(run.id)
            except kfp_server_api.ApiException as error:
                if error.status != HTTPStatus.NOT_FOUND:
                    raise

    def _of_experiments(self, kind: str, listing: Any) -> Iterator[Any]:
        for experiment in self._pages("experiments", self._server.client.list_experiments):
            yield from self._pages(kind, listing, experiment_id=experiment.experiment_id)

    def _pages(self, kind: str, listing: Any, **options: Any) -> Iterator[Any]:
        token = ""
        while True:
            with self._server.asked(f"list its {kind.replace('_', ' ')}"):
                answer = listing(page_token=token, page_size=_PAGE, namespace=self._server.target.namespace, **options)
            yield from getattr(answer, kind) or ()
            token = answer.next_page_token or ""
            if not token:
                return


def path_of(uri: str) -> str:
    """Return the path of an address in the one server of buckets, whatever KFP and Arrow call its scheme.

    >>> path_of("minio://mlpipeline/a/"), path_of("s3://mlpipeline/a")
    ('mlpipeline/a', 'mlpipeline/a')
    """
    return uri.partition("://")[2].rstrip("/")


def _server_run(answer: Any, run_id: str, state: str | None) -> ServerRun:
    reference, config = answer.pipeline_version_reference, answer.runtime_config
    parameters: Mapping[str, Any] = (config.parameters if config else None) or {}
    paths = frozenset(path_of(value) for value in parameters.values() if isinstance(value, str) and "://" in value)
    pipeline_id = reference.pipeline_id if reference else None
    return ServerRun(run_id, answer.display_name, state, pipeline_id, answer.created_at, paths)
