"""Write what was decided into the audit log of a project."""

import getpass
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.shared import audit
from components.shared.documents.monitoring import MonitoringDecision
from components.shared.documents.release import RegisteredVersion
from components.shared.documents.verdict import Verdict
from pipelines import runs
from pipelines.audit import heads
from pipelines.runs import Run

if TYPE_CHECKING:
    from mlflow import MlflowClient

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AuditLog:
    """The audit log of a project, and where its head is kept.

    Args:
        path: The log.
        endpoint: The endpoint's folder.
        model: Name of the model.
    """

    path: Path
    endpoint: Path
    model: str

    def record(self, kind: str, details: Mapping[str, Any], client: "MlflowClient | None" = None) -> None:
        """Add an entry and keep the new head.

        Args:
            kind: What was decided, such as "rollback".
            details: About it.
            client: The registry; without it only the endpoint keeps the head.
        """
        audit.append(self.path, kind, who(), {"model": self.model, **details}, datetime.now(UTC))
        for problem in heads.keep(self.path, self.endpoint, client, self.model):
            _log.warning("the audit log is not what was written: %s. See 'perennial audit verify'.", problem)

    def problems(self, client: "MlflowClient | None") -> list[str]:
        """Say what was done to the log; see ``audit.problems``."""
        return audit.problems(self.path, self.heads(client))

    def heads(self, client: "MlflowClient | None") -> dict[str, audit.AuditHead]:
        """Return the heads that are kept, by where."""
        return heads.known(self.endpoint, client, self.model)


def who() -> str:
    """Return the account that runs this command."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def decided(run: Run) -> list[tuple[str, dict[str, Any]]]:
    """Return what a run decided, in order, as kinds and details: what monitoring came to, and what of a candidate."""
    common: dict[str, Any] = {"run": run.id, "pipeline": run.pipeline}
    return [entry for entry in (_monitored(run, common), _judged(run, common)) if entry is not None]


def _monitored(run: Run, common: dict[str, Any]) -> tuple[str, dict[str, Any]] | None:
    if (path := _present(run, "decision.outcome", MonitoringDecision)) is None:
        return None
    decision = MonitoringDecision.read(path)
    return "monitoring", common | {"action": decision.action, "cause": decision.cause, "reasons": decision.reasons}


def _judged(run: Run, common: dict[str, Any]) -> tuple[str, dict[str, Any]] | None:
    if (path := _present(run, "gate.verdict", Verdict)) is None:
        return None
    verdict = Verdict.read(path)
    rules = [{"passed": rule.passed, "reason": rule.reason} for rule in verdict.rules]
    if run.exit_code == runs.REJECTED:
        return "rejection", common | {"rules": rules}
    released = _present(run, "registration.release", RegisteredVersion)
    if released is None or run.exit_code != runs.OK:
        return None
    version = RegisteredVersion.read(released)
    names = {"version": version.version, "registry_run": version.run_id, "fingerprint": version.fingerprint}
    waits = run.outputs.get("deployment.Output") == "waiting"
    kind = "release begun" if waits else "release unchanged" if version.unchanged else "release"
    return kind, common | names | {"manifest_sha256": version.manifest_sha256, "rules": rules}


def _present(run: Run, artifact: str, kind: Any) -> Path | None:
    path = run.artifacts.get(artifact)
    return Path(path) if path and kind.at(path).exists() else None
