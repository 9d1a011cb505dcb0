"""A KFP API server of this process that lists, shows and deletes runs, with a workflow for each."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.pipelines.kfp.double import Endpoint

START = datetime(2026, 1, 1, tzinfo=UTC)
_EXPERIMENT = "e-1"
_RUN = re.compile(r"/apis/v(1|2)beta1/runs/([^/]+)")


class RunsServer(Endpoint):
    """Runs and schedules of pipelines, all in one experiment."""

    def __init__(self) -> None:
        self.runs: dict[str, dict[str, Any]] = {}
        self.schedules: list[dict[str, Any]] = []
        self.nodes: dict[str, list[dict[str, Any]]] = {}
        self.statuses: dict[str, dict[str, Any]] = {}
        """Instead of the nodes of some runs."""
        self.deleted: Callable[[str], None] = lambda run: None
        """Called with each run after it was deleted."""
        super().__init__()

    def add(
        self, run: str, nodes: list[dict[str, Any]], *, pipeline: str = "small-training", state: str = "SUCCEEDED",
        **parameters: str,
    ) -> None:  # fmt: skip
        """Add a run that is newer than those before."""
        created = START + timedelta(hours=len(self.nodes))
        self.runs[run] = {"run_id": run, "state": state, "created_at": created.isoformat()}
        self.runs[run] |= _of(pipeline, run, parameters)
        self.nodes[run] = nodes

    def schedule(self, name: str, **parameters: str) -> None:
        """Add a schedule."""
        self.schedules.append({"recurring_run_id": name, "created_at": START.isoformat()})
        self.schedules[-1] |= _of("small-training", name, parameters)

    def reply(
        self, method: str, path: str, query: dict[str, Any], body: bytes, headers: dict[str, Any]
    ) -> dict[str, Any]:
        """Answer as the server does."""
        answer = self._answer(method, path, query)
        if answer is None:
            return {"status": 404, "type": "application/json", "body": {"error": "run not found"}}
        return {"status": 200, "type": "application/json", "body": answer}

    def _answer(self, method: str, path: str, query: dict[str, Any]) -> Any:
        if path.endswith("/healthz"):
            return {"tag_name": "2.17.0", "multi_user": False}
        if path.endswith("/experiments"):
            return {"experiments": [{"experiment_id": _EXPERIMENT}]}
        if path.endswith("/pipelines"):
            name = json.loads(query["filter"])["predicates"][0]["stringValue"]
            return {"pipelines": [{"pipeline_id": name, "display_name": name}]}
        if path.endswith("/recurringruns"):
            return {"recurringRuns": self.schedules}
        if path.endswith("/runs"):
            # In pages of two.
            first = int(query.get("page_token") or 0)
            listed = list(self.runs.values())
            return {"runs": listed[first : first + 2]} | (
                {"next_page_token": str(first + 2)} if first + 2 < len(listed) else {}
            )
        match = _RUN.fullmatch(path)
        assert match is not None, path
        if method == "DELETE":
            if self.runs.pop(match[2], None) is None:
                return None
            self.deleted(match[2])
            return {}
        nodes = {node["name"]: node for node in self.nodes[match[2]]}
        workflow = {"metadata": {"name": "w"}, "status": self.statuses.get(match[2], {"nodes": nodes})}
        return {"pipeline_runtime": {"workflow_manifest": json.dumps(workflow)}}


def _of(pipeline: str, name: str, parameters: dict[str, str]) -> dict[str, Any]:
    return {
        "display_name": name,
        "experiment_id": _EXPERIMENT,
        "pipeline_version_reference": {"pipeline_id": pipeline, "pipeline_version_id": "v"},
        "runtime_config": {"parameters": parameters},
    }
