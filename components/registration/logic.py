"""Register a promoted candidate as a version of the model, with its model card and release manifest.

An interrupted registration has no effect: the run is closed after its artifacts are written, and a tag that is written
last marks the version as complete. The next registration deletes incomplete versions, but none of other programs.
"""

import logging
import os
import tempfile
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from components.registration import card
from components.shared import files, registry
from components.shared.documents.package_manifest import PackageManifest
from components.shared.errors import GateRejected
from components.shared.evidence import COMMIT, OUTCOME, Candidate, finish_run, log, start_run
from components.shared.package import signing
from components.shared.package.integrity import SIGNATURE
from components.shared.registry import Evidence
from components.shared.release.kserve import objects

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

# On a server, another registration may be in progress; an incomplete version that is older than this is abandoned.
_ABANDONED_AFTER_S = 3600

_log = logging.getLogger(__name__)


def register(
    evidence: Evidence,
    registry_uri: str,
    code: Mapping[str, str],
    release_out: Path,
    card_out: Path,
    card_html_out: Path,
) -> str:
    """Register a promoted candidate as challenger; write its release folder and its model card.

    A candidate with the same data, project, packages and weights as an existing version gets that version.

    Args:
        evidence: The candidate's artifacts.
        registry_uri: The SQLite file of a laptop, or the address of a server.
        code: ``commit``, ``dirty`` and ``lock:<step>`` with the hash of each lock.
        release_out: Folder for the manifests and ``release.json``.
        card_out: The model card, Markdown.
        card_html_out: The model card, HTML.

    Returns:
        The version.

    Raises:
        GateRejected: If the verdict does not promote the candidate.
        InputError: If the project's releases are signed, and the environment has no key to sign with.
        StepFailed: If the registry cannot be opened, or the package does not match its manifest.
    """
    candidate = Candidate.read(evidence, code)
    name = candidate.project.name
    if not candidate.verdict.promote:
        raise GateRejected(
            "the verdict does not promote the candidate, so no version is registered; expected a promoted candidate."
        )
    client = registry.open(registry_uri)
    with registry.write_lock(registry_uri) as is_locked:
        _remove_incomplete(client, name, 0 if is_locked else _ABANDONED_AFTER_S)
        same = [v for v in registry.versions(client, name) if v.tags[registry.FINGERPRINT] == candidate.fingerprint]
        former = registry.champion(client, name)
        version = same[0] if same else _new_version(client, registry_uri, evidence, candidate, former)
        unchanged = str(version.version) == former
        if not unchanged:
            registry.move_alias(client, name, registry.CHALLENGER, str(version.version))
    _log.info("version %s of %s%s", version.version, name, ", unchanged" if unchanged else "")
    objects.write(release_out, candidate, version, unchanged, _manifest_hash(client, version), uuid.uuid4().hex[:12])
    # The card of the champion tells of the day it was made, not of a comparison with itself.
    text = _card_of(client, version) if unchanged else card.markdown(candidate, version, former)
    for path, content in ((card_out, text), (card_html_out, card.html(text, name))):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return str(version.version)


def _new_version(
    client: "MlflowClient", registry_uri: str, evidence: Evidence, candidate: Candidate, former: str | None
) -> "ModelVersion":
    from mlflow.exceptions import MlflowException

    name, trusted = candidate.project.name, candidate.project.release.signed_by
    key = signing.private_key(os.environ, trusted) if trusted else None
    run_id = start_run(client, registry_uri, candidate, "promoted")
    log(client, run_id, evidence, candidate)
    client.log_artifacts(run_id, str(evidence.model), "model")
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    tags = {
        registry.FINGERPRINT: candidate.fingerprint,
        registry.SNAPSHOT: candidate.snapshot.content_hash,
        COMMIT: candidate.code.get("commit", "unknown"),
    }
    if key is not None:
        client.log_text(run_id, signing.sign(evidence.model, key, name), f"model/{SIGNATURE}")
        tags[registry.SIGNED_BY] = signing.identifier(key.public_key())
    source = f"{client.get_run(run_id).info.artifact_uri}/model"
    version = client.create_model_version(name, source, run_id, tags=tags)
    client.log_text(run_id, card.markdown(candidate, version, former), "card.md")
    finish_run(client, run_id)
    client.set_model_version_tag(name, str(version.version), registry.COMPLETE, "true")
    return client.get_model_version(name, str(version.version))


def _manifest_hash(client: "MlflowClient", version: "ModelVersion") -> str:
    """Hash the manifest of the registered package: that of an equal candidate tells of another training time."""
    with tempfile.TemporaryDirectory() as folder:
        manifest = client.download_artifacts(str(version.run_id), f"model/{PackageManifest.FILE}", folder)
        return files.sha256(Path(manifest))


def _card_of(client: "MlflowClient", version: "ModelVersion") -> str:
    with tempfile.TemporaryDirectory() as folder:
        return Path(client.download_artifacts(str(version.run_id), "card.md", folder)).read_text(encoding="utf-8")


def _remove_incomplete(client: "MlflowClient", name: str, older_than_s: float) -> None:
    newest_ms = (time.time() - older_than_s) * 1000
    for version in registry.versions(client, name, complete=False):
        # Another program's version of the same name lacks the fingerprint, which ours have from the beginning.
        if registry.FINGERPRINT in version.tags and version.creation_timestamp <= newest_ms:
            client.delete_model_version(name, str(version.version))
    for run in registry.runs(client, name, f"attributes.status = 'RUNNING' and tags.`{OUTCOME}` = 'promoted'"):
        if run.info.start_time <= newest_ms:
            client.set_terminated(run.info.run_id, "KILLED")
