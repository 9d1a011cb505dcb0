"""All access to MLflow: runs, the registered model with its versions, and the aliases that say who answers.

On a laptop the registry is one SQLite file with the artifacts beside it (``<folder>/mlartifacts``); elsewhere it is a
server's address. MLflow is imported when a registry is opened, never before: the import takes seconds.

A version counts only when it carries the tag ``COMPLETE``, which is written last. Whatever a killed process left
before that is no version to anybody here, and the next registration takes it away.
"""

import contextlib
import fcntl
import logging
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.shared import telemetry
from components.shared.errors import StepFailed, is_disk_full

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion

CHAMPION = "champion"
CHALLENGER = "challenger"
ACCEPTED = "perennial.accepted"
COMPLETE = "perennial.complete"
FINGERPRINT = "perennial.fingerprint"
SNAPSHOT = "perennial.snapshot_hash"

_SQLITE = "sqlite:///"
_ABSENT = {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}


@dataclass(frozen=True)
class Evidence:
    """Where the artifacts of one candidate lie: everything that is known about it."""

    project: Path
    snapshot: Path
    statistics: Path
    splits: Path
    study: Path
    model: Path
    evaluation: Path
    verdict: Path

    @classmethod
    def of(cls, *artifacts: Any) -> "Evidence":
        """Keep the paths of KFP artifacts, given in the order of the fields."""
        return cls(*(Path(artifact.path) for artifact in artifacts))

    @property
    def paths(self) -> dict[str, Path]:
        """Name every artifact with its path, in the order of the pipeline."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def open(registry_uri: str) -> "MlflowClient":
    """Open the registry at ``sqlite:///<absolute path>`` (created if absent) or at a server's address.

    Raises:
        StepFailed: If it is broken or does not answer.
    """
    _quiet()
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        with _created(registry_uri):
            client = MlflowClient(tracking_uri=registry_uri, registry_uri=registry_uri)
            client.search_experiments(max_results=1)
            client.search_registered_models(max_results=1)
    except (MlflowException, SQLAlchemyError, OSError) as error:
        text = " ".join(str(error).split())
        reason = "no server answers there" if "Max retries" in text else text[:200]
        raise StepFailed(
            f"The model registry {_without_password(registry_uri)!r} can't be used: {reason}; "
            "expected a server that answers or a SQLite file that MLflow made, start the one or restore the other."
        ) from error
    return client


def champion(client: "MlflowClient", name: str) -> str | None:
    """Return the version that the alias champion points to, or None before the first release."""
    version = version_by_alias(client, name, CHAMPION)
    return str(version.version) if version else None


def version_by_alias(client: "MlflowClient", name: str, alias: str) -> "ModelVersion | None":
    """Return the version behind an alias, with its tags and run id, or None."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_model_version_by_alias(name, alias)
    except MlflowException as error:
        if error.error_code in _ABSENT:
            return None
        raise


def move_alias(client: "MlflowClient", name: str, alias: str, version: str | None) -> None:
    """Let an alias point to a version, or to none; moving it to where it is changes nothing."""
    current = version_by_alias(client, name, alias)
    if version is not None:
        client.set_registered_model_alias(name, alias, str(version))
    elif current is not None:
        client.delete_registered_model_alias(name, alias)


def versions(client: "MlflowClient", name: str, *, complete: bool = True) -> list["ModelVersion"]:
    """List the complete versions of a model, the newest first; or those that a killed process left half made."""
    found = client.search_model_versions(f"name='{name}'", max_results=10_000)
    wanted = [version for version in found if (version.tags.get(COMPLETE) == "true") == complete]
    return sorted(wanted, key=lambda version: int(version.version), reverse=True)


def runs(client: "MlflowClient", name: str, where: str) -> list["Run"]:
    """List the runs of a project's experiment that a filter of MLflow selects, the last to start first."""
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        return []
    return list(client.search_runs([experiment.experiment_id], where, order_by=["attributes.start_time DESC"]))


def last_accepted(client: "MlflowClient", name: str) -> "Run | None":
    """Return the newest finished run whose data passed validation, or None."""
    finished = runs(client, name, f"tags.`{ACCEPTED}` = 'true' and attributes.status = 'FINISHED'")
    return max(finished, key=lambda run: run.info.end_time, default=None)


def experiment(client: "MlflowClient", registry_uri: str, name: str) -> str:
    """Return the id of a project's experiment; create it if absent, with the artifacts beside a SQLite file."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    database = _database(registry_uri)
    location = (database.parent / "mlartifacts" / name).as_uri() if database else None
    try:
        return str(client.create_experiment(name, artifact_location=location))
    except MlflowException as error:
        # Somebody else was faster, or it was deleted: then there is none, and MLflow's sentence says what to do.
        found = client.get_experiment_by_name(name)
        if error.error_code != "RESOURCE_ALREADY_EXISTS" or found is None:
            raise
        return str(found.experiment_id)


def download(client: "MlflowClient", uri: str, folder: Path) -> Path:
    """Copy an artifact folder (a version's ``source``, ``runs:/<id>/<path>``) to ``folder``, which must not exist.

    Raises:
        StepFailed: If the registry names artifacts that are not there.
    """
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        copied = download_artifacts(artifact_uri=uri, dst_path=str(partial), tracking_uri=client.tracking_uri)
    except (MlflowException, OSError) as error:
        if is_disk_full(error):
            raise
        reason = " ".join(str(error).split())[:300].rstrip(".")
        raise StepFailed(
            f"The registry names the artifacts {uri}, which can't be read ({reason}); put them back, and where the "
            "folder was moved or renamed, move it back; a bucket needs its address and credentials."
        ) from error
    Path(copied).rename(folder)
    shutil.rmtree(partial, ignore_errors=True)
    return folder


@contextlib.contextmanager
def alone(registry_uri: str) -> Iterator[bool]:
    """Hold the laptop's registry against other writers; yields whether nobody else can be writing.

    Behind a server there is no such lock, and False is the answer.
    """
    database = _database(registry_uri)
    if database is None:
        yield False
        return
    with _locked(database.with_name(database.name + ".writer")):
        yield True


@contextlib.contextmanager
def _created(registry_uri: str) -> Iterator[None]:
    """Let one process at a time make the schema, and start over where one was killed while it did."""
    database = _database(registry_uri)
    marker = database.with_name(database.name + ".creating") if database else None
    if database is None or marker is None or (database.exists() and not marker.exists()):
        yield
        return
    database.parent.mkdir(parents=True, exist_ok=True)
    with _locked(database.with_name(database.name + ".lock")):
        if marker.exists():
            for leftover in (database, database.with_name(database.name + "-journal")):
                leftover.unlink(missing_ok=True)
        if not database.exists():
            marker.touch()
        yield
        marker.unlink(missing_ok=True)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    # flock ends with the process, so a killed one never leaves a lock behind.
    with path.open("a") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _database(registry_uri: str) -> Path | None:
    return Path(registry_uri.removeprefix(_SQLITE)) if registry_uri.startswith(_SQLITE) else None


def _without_password(uri: str) -> str:
    scheme, separator, rest = uri.partition("://")
    return f"{scheme}://…@{rest.rpartition('@')[2]}" if separator and "@" in rest else uri


def _quiet() -> None:
    # MLflow reads these when it is imported; what the user set stands.
    for name, value in telemetry.OFF.items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("_MLFLOW_TELEMETRY_PRE_WARM_DATABRICKS_SDK", "false")
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "4")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "1")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    for name in ("alembic", "mlflow.tracking", "mlflow.store.model_registry"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # It logs the traceback of each error that it raises.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
