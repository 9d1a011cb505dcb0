"""All access to MLflow: runs, model versions, and the aliases that point to the champion and the challenger.

On a laptop, the registry is a SQLite file with the artifacts in ``<folder>/mlartifacts``, which may be moved or copied
as a whole; elsewhere it is a server. MLflow is imported only when a registry is opened, because the import takes
seconds.

A version is complete only if it has the tag ``COMPLETE``, which is written last. A version without the tag is the
remainder of a killed process: it is ignored, and the next registration deletes it.
"""

import contextlib
import fcntl
import importlib
import logging
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.shared import registry_location, telemetry
from components.shared.documents.release import ARTIFACTS
from components.shared.errors import InputError, StepFailed, is_disk_full

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion

CHAMPION = "champion"
CHALLENGER = "challenger"
ACCEPTED = "perennial.accepted"
COMPLETE = "perennial.complete"
FINGERPRINT = "perennial.fingerprint"
TAKEN_BACK = "perennial.taken_back"
WITHDRAWN = "perennial.withdrawn."
"""Beginning of a tag; the registration whose release was withdrawn follows."""
SNAPSHOT = "perennial.snapshot_hash"
SIGNED_BY = "perennial.signed_by"

_SQLITE = "sqlite:///"
_ABSENT = {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}


@dataclass(frozen=True)
class Evidence:
    """Paths of all artifacts about one candidate."""

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
        """Collect the paths of KFP artifacts, which must be in the order of the fields."""
        return cls(*(Path(artifact.path) for artifact in artifacts))

    @property
    def paths(self) -> dict[str, Path]:
        """Return the path of each artifact by its name, in the order of the pipeline."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def load_library() -> None:
    """Import MLflow, which takes seconds; for those who will open a registry later and have nothing to do now."""
    _quiet()
    importlib.import_module("mlflow.tracking")


def open(registry_uri: str) -> "MlflowClient":
    """Open the registry at ``sqlite:///<absolute path>`` (created if absent) or at a server's address.

    Raises:
        StepFailed: If the registry is damaged or not reachable.
    """
    _quiet()
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        with _schema_creation(registry_uri):
            database = _database(registry_uri)
            if database is not None and database.exists():
                registry_location.follow(database)
            client = MlflowClient(tracking_uri=registry_uri, registry_uri=registry_uri)
            client.search_experiments(max_results=1)
            client.search_registered_models(max_results=1)
    except (MlflowException, SQLAlchemyError, OSError) as error:
        text = " ".join(str(error).split())
        reason = "no server answers" if "Max retries" in text else text[:200]
        raise StepFailed(
            f"cannot open the model registry {_without_password(registry_uri)!r} ({reason}); expected an MLflow server "
            "or an MLflow SQLite file. Start the server or restore the file."
        ) from error
    return client


def champion(client: "MlflowClient", name: str) -> str | None:
    """Return the version with the alias champion, or None before the first release."""
    version = version_by_alias(client, name, CHAMPION)
    return str(version.version) if version else None


def version_by_alias(client: "MlflowClient", name: str, alias: str) -> "ModelVersion | None":
    """Return the model version that an alias points to, or None."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_model_version_by_alias(name, alias)
    except MlflowException as error:
        if error.error_code in _ABSENT:
            return None
        raise


def version(client: "MlflowClient", name: str, number: str | None) -> "ModelVersion | None":
    """Return a complete version by its number, or the champion (None) if there is one.

    Raises:
        InputError: If there is no such version; the message lists the others.
    """
    if number is None:
        return version_by_alias(client, name, CHAMPION)
    by_number = {str(known.version): known for known in versions(client, name)}
    if number not in by_number:
        listed = sorted(by_number, key=int)
        raise InputError(f"model {name!r} has no version {number!r}; expected one of {listed}.")
    return by_number[number]


def move_alias(client: "MlflowClient", name: str, alias: str, version: str | None) -> None:
    """Point an alias to a version, or delete it (None). The operation is idempotent."""
    current = version_by_alias(client, name, alias)
    if version is not None:
        client.set_registered_model_alias(name, alias, str(version))
    elif current is not None:
        client.delete_registered_model_alias(name, alias)


def take_back(client: "MlflowClient", name: str, version: str, reason: str) -> None:
    """Note why a version was taken back while it was released; it is not released again."""
    client.set_model_version_tag(name, version, TAKEN_BACK, reason)


def taken_back(client: "MlflowClient", name: str, version: str) -> str | None:
    """Return why a version was taken back, None if it was not."""
    return _tag(client, name, version, TAKEN_BACK)


def withdraw(client: "MlflowClient", name: str, version: str, registration: str, reason: str) -> None:
    """Note why the release of one registration was withdrawn; another registration may release the version."""
    client.set_model_version_tag(name, version, f"{WITHDRAWN}{registration}", reason)


def withdrawn(client: "MlflowClient", name: str, version: str, registration: str) -> str | None:
    """Return why the release of a registration was withdrawn, None if it was not."""
    return _tag(client, name, version, f"{WITHDRAWN}{registration}")


def versions(client: "MlflowClient", name: str, *, complete: bool = True) -> list["ModelVersion"]:
    """List the complete (or the incomplete) versions of a model, newest first."""
    all_versions = client.search_model_versions(f"name='{name}'", max_results=10_000)
    selected = [version for version in all_versions if (version.tags.get(COMPLETE) == "true") == complete]
    return sorted(selected, key=lambda version: int(version.version), reverse=True)


def runs(client: "MlflowClient", name: str, where: str) -> list["Run"]:
    """List the runs of a project's experiment that match an MLflow filter, latest start first."""
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        return []
    return list(client.search_runs([experiment.experiment_id], where, order_by=["attributes.start_time DESC"]))


def last_accepted(client: "MlflowClient", name: str) -> "Run | None":
    """Return the latest finished run whose data passed validation, or None."""
    finished = runs(client, name, f"tags.`{ACCEPTED}` = 'true' and attributes.status = 'FINISHED'")
    return max(finished, key=lambda run: run.info.end_time, default=None)


def experiment(client: "MlflowClient", registry_uri: str, name: str) -> str:
    """Return the id of a project's experiment; create it if absent, with its artifacts next to a SQLite registry."""
    from mlflow.exceptions import MlflowException

    existing = client.get_experiment_by_name(name)
    if existing is not None:
        return str(existing.experiment_id)
    database = _database(registry_uri)
    location = (database.parent / ARTIFACTS / name).as_uri() if database else None
    try:
        return str(client.create_experiment(name, artifact_location=location))
    except MlflowException as error:
        # Another process created it in the meantime. A deleted experiment has the same error code, but is not returned
        # by name; MLflow's own message then says what to do.
        existing = client.get_experiment_by_name(name)
        if error.error_code != "RESOURCE_ALREADY_EXISTS" or existing is None:
            raise
        return str(existing.experiment_id)


def download(client: "MlflowClient", uri: str, folder: Path) -> Path:
    """Copy an artifact folder (a version's ``source``, ``runs:/<id>/<path>``) to ``folder``, which must not exist.

    Raises:
        StepFailed: If the artifacts cannot be read.
    """
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        copied = download_artifacts(artifact_uri=uri, dst_path=str(partial), tracking_uri=client.tracking_uri)
    except Exception as error:
        if is_disk_full(error) or not (isinstance(error, MlflowException | OSError) or is_bucket_error(error)):
            raise
        reason = " ".join(str(error).split())[:300].rstrip(".")
        raise StepFailed(
            f"cannot read the artifacts {uri} of the model registry ({reason}); restore them if they were moved or "
            "deleted, or, for a bucket, check its address and credentials."
        ) from error
    Path(copied).rename(folder)
    shutil.rmtree(partial, ignore_errors=True)
    return folder


def is_bucket_error(error: Exception) -> bool:
    """Return whether a bucket's client raised an exception; it is installed only where artifacts are in a bucket."""
    return type(error).__module__.partition(".")[0] in ("boto3", "botocore", "google")


def _tag(client: "MlflowClient", name: str, version: str, tag: str) -> str | None:
    tagged = next((listed for listed in versions(client, name) if str(listed.version) == version), None)
    return tagged.tags.get(tag) if tagged else None


@contextlib.contextmanager
def write_lock(registry_uri: str) -> Iterator[bool]:
    """Lock a SQLite registry against other writers; yields True while the lock is held.

    A server has no such lock: False is yielded, and other processes may write.
    """
    database = _database(registry_uri)
    if database is None:
        yield False
        return
    with _locked(database.with_name(database.name + ".writer")):
        yield True


@contextlib.contextmanager
def _schema_creation(registry_uri: str) -> Iterator[None]:
    """Let only one process create the database schema; discard a schema whose creation was interrupted."""
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
    # The kernel releases a flock when the process ends, so a killed process leaves no lock.
    with path.open("a") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _database(registry_uri: str) -> Path | None:
    return Path(registry_uri.removeprefix(_SQLITE)) if registry_uri.startswith(_SQLITE) else None


def _without_password(uri: str) -> str:
    scheme, separator, rest = uri.partition("://")
    return f"{scheme}://…@{rest.rpartition('@')[2]}" if separator and "@" in rest else uri


def _quiet() -> None:
    # MLflow reads these variables when it is imported; values that the user has set take precedence.
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
    # This logger writes the traceback of each error that MLflow raises anyway.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
