"""Where the head of the audit log is kept: in the registry, and beside the endpoint's journal."""

from pathlib import Path
from typing import TYPE_CHECKING

from components.shared import audit, files
from components.shared.audit import AuditHead

if TYPE_CHECKING:
    from mlflow import MlflowClient

REGISTRY, ENDPOINT = "the registry", "the endpoint"
_TAG = "perennial.audit_head"
_FILE = "audit_head.json"


def known(endpoint: Path, client: "MlflowClient | None", model: str) -> dict[str, AuditHead]:
    """Return the heads that are kept, by where.

    Args:
        endpoint: The endpoint's folder.
        client: The registry; None is not asked.
        model: The registered model.

    Raises:
        StepFailed: If one cannot be read.
    """
    heads = {}
    if (endpoint / _FILE).exists():
        heads[ENDPOINT] = AuditHead.parse((endpoint / _FILE).read_text(encoding="utf-8"))
    tag = None if client is None else _tags(client, model).get(_TAG)
    if tag is not None:
        heads[REGISTRY] = AuditHead.parse(tag)
    return heads


def keep(log: Path, endpoint: Path, client: "MlflowClient | None", model: str) -> list[str]:
    """Keep the newest head, unless the log does not fit to the heads that are kept; return what is wrong with it then.

    Heads that a changed log does not fit to are the evidence, so they stay as they are.
    """
    wrong = audit.problems(log, known(endpoint, client, model))
    newest = None if wrong else max((entry.head for entry in audit.entries(log)), default=None, key=lambda h: h.number)
    if newest is not None:
        endpoint.mkdir(parents=True, exist_ok=True)
        files.write_text(endpoint / _FILE, str(newest))
        if client is not None and _exists(client, model):
            client.set_registered_model_tag(model, _TAG, str(newest))
    return wrong


def _tags(client: "MlflowClient", model: str) -> dict[str, str]:
    return dict(client.get_registered_model(model).tags) if _exists(client, model) else {}


def _exists(client: "MlflowClient", model: str) -> bool:
    return any(found.name == model for found in client.search_registered_models(f"name = '{model}'"))
