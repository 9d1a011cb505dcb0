"""What every target with a server does the same way: its registry, its labels, its bucket."""

import contextlib
import tempfile
import urllib.request
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from components.shared import registry, sources
from components.shared.errors import InputError, StepFailed
from components.shared.incidents.folders import IncidentFolders
from components.shared.incidents.mirror import Mirror
from pipelines.targets.model import Images, Remote
from pipelines.targets.protocol import Backend, Forgotten
from pipelines.targets.remote.storage import Bucket
from pipelines.targets.state import State

if TYPE_CHECKING:
    import pyarrow as pa
    from mlflow import MlflowClient

    from components.shared.label_store import AddedLabels

_LOOK_S = 5.0


class RemoteBackend(Backend):
    """A target whose runs happen at a server, and continue without this command."""

    is_remote = True

    def __init__(self, name: str, target: Remote, state: State) -> None:
        """Keep what the target file says."""
        super().__init__(name, target, state)
        self.target: Remote = target

    @property
    def images(self) -> Images:
        """Where the target finds the images of the steps."""
        return self.target.images

    def open_registry(self) -> "MlflowClient":
        """Open the MLflow server, as this machine reaches it.

        Raises:
            StepFailed: If it is not reachable.
        """
        url = self.target.registry_url or self.target.services.registry
        try:
            # MLflow itself tries for a long time.
            urllib.request.urlopen(f"{url.rstrip('/')}/health", timeout=_LOOK_S).close()
        except (OSError, ValueError) as error:
            raise StepFailed(
                f"the model registry {url} does not answer ({error}); give registry_url in the target file where this "
                "machine reaches it at another address."
            ) from error
        return registry.open(url)

    def add_labels(self, labels: "pa.Table", now: datetime) -> "AddedLabels":
        """Add them to the bucket, as a file of their own.

        Raises:
            InputError: If the target does not say where in a bucket labels are kept, or the bucket refuses.
        """
        from components.shared import label_store

        uri = self._in_bucket("labels")
        bucket = Bucket(self.target.storage)
        with tempfile.TemporaryDirectory() as folder:
            added = label_store.add(Path(folder), labels, now)
            files = sorted(Path(folder).glob("*.parquet"))
            newest = max(bucket.names(uri), default="")
            if any(newest.endswith(label_store.content_of(file)) for file in files):
                return label_store.AddedLabels(added.rows, is_new=False)
            for file in files:
                bucket.put(file, uri)
        return added

    def forget(self, entities: Sequence[str], now: datetime) -> Forgotten:
        """Remove it from the bucket."""
        from components.shared.inference_log import remote_forgetting

        log, labels = self._in_bucket("inference_log"), self._in_bucket("labels")
        bucket = Bucket(self.target.storage)
        # Labels first: should this be cut off, the log still tells whose requests they belong to.
        with sources.bucket_errors(log):
            rows = remote_forgetting.rows_of(*bucket.folder(log), entities, now)
        with sources.bucket_errors(labels):
            removed = remote_forgetting.forget_labels(*bucket.folder(labels), entities, rows)
        with sources.bucket_errors(log):
            rows |= remote_forgetting.forget(*bucket.folder(log), entities, now)
        return Forgotten(len(rows), removed, rest="round of the collector")

    def _in_bucket(self, service: str) -> str:
        """Return the address of a service whose files are in a bucket."""
        uri = str(getattr(self.target.services, service))
        if not sources.is_remote(uri):
            raise InputError(
                f"services.{service} of the target is {uri!r}, which no step reaches; expected a folder in a bucket, "
                "as in s3://bucket/prefix."
            )
        return uri

    @contextlib.contextmanager
    def incidents(self) -> Iterator[IncidentFolders]:
        """Copy them from the bucket, and bring back what has changed."""
        uri = self.target.services.incidents
        if not sources.is_remote(uri):
            raise InputError(
                f"services.incidents of the target is {uri!r}; expected a folder in a bucket, as in "
                "s3://bucket/prefix, where runs of this target keep incidents."
            )
        with tempfile.TemporaryDirectory() as folder:
            mirror = Mirror(*Bucket(self.target.storage).folder(uri), uri, Path(folder))
            mirror.fetch()
            yield mirror.folders
            mirror.publish()

    def check_machine(self) -> None:
        """Refuse: runs happen at the server."""
        raise InputError(
            f"the target {self.name!r} is of kind {self.target.kind!r}, this verb works on this machine (laptop, "
            "docker); use 'perennial submit', 'runs' and 'logs' there."
        )

    def check_server(self, advice: str = "") -> None:
        """Runs happen at the server."""

    def _experiment(self, name: str | None) -> str:
        return name or self.target.experiment or self.project.name
