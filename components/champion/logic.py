"""What the registry holds before a run: the champion's package, and the statistics of the last accepted data.

Both are copied out of the registry, so that the steps after this one see files and nothing that can move.
"""

import logging
import shutil
from pathlib import Path

from components.shared import files, registry, registry_state
from components.shared.documents.accepted import AcceptedRecord
from components.shared.documents.champion import ChampionRecord
from components.shared.documents.evaluation import EvaluationReport, OldRows
from components.shared.documents.model_facts import ModelFacts
from components.shared.documents.package_manifest import PackageManifest
from components.shared.documents.preprocessing import PackagePreprocessing
from components.shared.documents.start import StartRecord
from components.shared.errors import StepFailed
from components.shared.project import Project

EVALUATION = "evaluation"
"""Folder of ``measured_out``."""

_log = logging.getLogger(__name__)


def fetch(
    project: Project,
    registry_uri: str,
    model_out: Path,
    accepted_out: Path,
    measured_out: Path,
    start_out: Path,
    expected_state: str | None = None,
) -> str | None:
    """Copy the champion and the last accepted statistics out of the registry; either may be absent.

    Args:
        project: Its name is the name of the registered model and of the experiment.
        registry_uri: A laptop's SQLite file or a server.
        model_out: Receives ``champion.json`` and, with a champion, its model package in ``package/`` and the fixed set
            of old rows.
        accepted_out: Receives ``accepted.json`` and, after a first accepted run, ``statistics/``.
        measured_out: Receives, with a champion, its evaluation in ``evaluation/``, with the reference of monitoring.
        start_out: Receives ``start.json`` and, with a champion that is to be continued, its models in ``package/``.
        expected_state: The digest by which the outputs are cached, see ``registry_state``; None if they are not.

    Returns:
        The champion's version, or None before the first release.

    Raises:
        StepFailed: If the champion's package is not what was registered, or the registry is not in the expected state.
    """
    client = registry.open(registry_uri)
    version = registry.version_by_alias(client, project.name, registry.CHAMPION)
    model_out.mkdir(parents=True, exist_ok=True)
    accepted_out.mkdir(parents=True, exist_ok=True)
    measured_out.mkdir(parents=True, exist_ok=True)
    if version is not None:
        package = registry.download(client, str(version.source), model_out / "package")
        registry.download(client, f"runs:/{version.run_id}/evaluation", measured_out / EVALUATION)
        owner = f"Version {version.version} of model {project.name!r}"
        _check(package, owner)
        _hand_on_old_rows(measured_out / EVALUATION, model_out, owner)
    champion = ChampionRecord(
        version=str(version.version) if version else None,
        run_id=version.run_id if version else None,
        fingerprint=version.tags.get(registry.FINGERPRINT) if version else None,
    )
    champion.write(model_out)
    _write_start(project, champion.version, model_out / "package", start_out)

    run = registry.last_accepted(client, project.name)
    if run is not None:
        registry.download(client, f"runs:/{run.info.run_id}/statistics", accepted_out / "statistics")
    accepted = AcceptedRecord(
        run_id=run.info.run_id if run else None,
        snapshot_hash=run.data.tags.get(registry.SNAPSHOT) if run else None,
    )
    accepted.write(accepted_out)
    # Checked last: what was copied before a change that happens from here on is what the digest covers.
    if expected_state is not None and registry_state.read(client, project.name).digest != expected_state:
        raise StepFailed(
            f"the registry changed while the run started (the champion is now {champion.version or 'absent'}); "
            "expected it unchanged until the champion was fetched, run again."
        )
    _log.info("champion %s, last accepted run %s", champion.version, accepted.run_id)
    return champion.version


def _write_start(project: Project, version: str | None, package: Path, out: Path) -> None:
    """Copy what a training that continues needs; from scratch, the output is the same whatever the registry holds."""
    continues = version if project.retraining.continues else None
    StartRecord(version=continues).write(out)
    if continues is None:
        return
    names = [ModelFacts.FILE]
    if PackagePreprocessing.at(package).is_file():
        learned = PackagePreprocessing.read(package)
        names += [
            PackagePreprocessing.FILE,
            PackageManifest.SEEN,
            *(member.weights for member in learned.members.values()),
        ]
    (out / StartRecord.PACKAGE).mkdir(exist_ok=True)
    for name in names:
        shutil.copyfile(package / name, out / StartRecord.PACKAGE / name)


def _hand_on_old_rows(evaluation: Path, out: Path, owner: str) -> None:
    """Copy the fixed set of old rows; a champion that was evaluated before there were any has none."""
    old = EvaluationReport.read(evaluation).old_rows
    if old is None:
        return
    path = evaluation / OldRows.FILE
    if not path.is_file() or files.sha256(path) != old.content_hash:
        raise StepFailed(
            f"{owner} in the registry has lost or changed its old rows, {OldRows.FILE!r}; expected the SHA-256 "
            f"{old.content_hash}, restore the file from a backup or move the alias 'champion' to another version."
        )
    shutil.copyfile(path, out / OldRows.FILE)


def _check(package: Path, owner: str) -> None:
    # A registry is outside state: what it returns is checked before anybody loads it.
    expected = PackageManifest.read(package).files
    wrong = [n for n, digest in expected.items() if not (package / n).is_file() or files.sha256(package / n) != digest]
    if wrong:
        raise StepFailed(
            f"{owner} in the registry has changed or lost {sorted(wrong)}; expected the files of its manifest.json, "
            "restore them from a backup or move the alias 'champion' to another version."
        )
