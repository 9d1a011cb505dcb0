"""The events of one run: the run and each of its steps, and the datasets that they read and write."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState
from openlineage.client.facet_v2 import (
    DatasetFacet,
    JobFacet,
    RunFacet,
    dataset_version_dataset,
    error_message_run,
    job_type_job,
    parent_run,
    source_code_location_job,
)

from components.shared.documents.release import RegisteredVersion
from components.shared.documents.snapshot import SnapshotDescription
from components.shared.errors import StepFailed
from components.shared.project import Project
from pipelines import runs
from pipelines.targets.openlineage.wiring import Artifact

# The name of our own ids; any other would do, as long as it never changes.
_IDS = uuid.UUID("0b9b7a0e-6c7f-5f0e-9a55-5c2b8a4f6f0d")
_ENDS = {"done": RunState.COMPLETE, "cached": RunState.COMPLETE, "failed": RunState.FAIL}
_RELEASED = "registration.release"
_SNAPSHOT = "ingestion.snapshot"


@dataclass(frozen=True)
class RunEvents:
    """Describes a run and its steps; equal runs have equal ids.

    Attributes:
        namespace: Of jobs and artifacts.
        producer: URI of the code that makes the events.
        repository: Address of the code's repository, "" if it has none.
        project: Names the jobs, and where the tables come from.
        root: The folder that the paths of sources are relative to.
        wiring: The artifacts that each step reads.
        run: The record, as it is when an event is made.
    """

    namespace: str
    producer: str
    repository: str
    project: Project
    root: Path
    wiring: Mapping[str, tuple[Artifact, ...]]
    run: runs.Run

    def of_run(self, now: datetime) -> RunEvent:
        """Describe the run: that it started, or how it ended and what it read and wrote."""
        code = self.run.exit_code
        if code is None:
            return self._event(RunState.START, None, now)
        ends = {runs.OK: RunState.COMPLETE, runs.REJECTED: RunState.COMPLETE, runs.INTERRUPTED: RunState.ABORT}
        state = ends.get(code, RunState.FAIL)
        reason = self.run.reason if state is not RunState.COMPLETE else None
        return self._event(state, None, now, self._sources(), self._written(_RELEASED), reason)

    def of_step(self, step: runs.Step, now: datetime) -> RunEvent | None:
        """Describe a step: that it started, or how it ended; None if neither has happened."""
        if step.state == "running":
            return self._event(RunState.START, step.name, now)
        if step.state not in _ENDS:
            return None
        read = [self._read(artifact) for artifact in self.wiring.get(step.name, ())]
        reads_sources = step.name == _SNAPSHOT.partition(".")[0]
        own = [name for name in self.run.artifacts if name.startswith(f"{step.name}.")]
        written = [dataset for name in sorted(own) for dataset in self._written(name)]
        sources = self._sources() if reads_sources else []
        return self._event(_ENDS[step.state], step.name, now, [*sources, *read], written, step.error)

    def _event(
        self,
        state: RunState,
        step: str | None,
        now: datetime,
        inputs: list[InputDataset] | None = None,
        outputs: list[OutputDataset] | None = None,
        reason: str | None = None,
    ) -> RunEvent:
        facets: dict[str, RunFacet] = {}
        if step is not None:
            parent = parent_run.Run(runId=self._id(None)), parent_run.Job(self.namespace, self._job(None))
            facets["parent"] = parent_run.ParentRunFacet(*parent)
        if reason:
            facets["errorMessage"] = error_message_run.ErrorMessageRunFacet(reason, programmingLanguage="PYTHON")
        kind = "DAG" if step is None else "TASK"
        of_job: dict[str, JobFacet] = {"jobType": job_type_job.JobTypeJobFacet("BATCH", "PERENNIAL", jobType=kind)}
        if self.repository and self.run.commit:
            of_job["sourceCodeLocation"] = source_code_location_job.SourceCodeLocationJobFacet(
                "git", self.repository, repoUrl=self.repository, version=self.run.commit
            )
        return RunEvent(
            eventType=state,
            eventTime=now.isoformat(),
            run=Run(runId=self._id(step), facets=facets),
            job=Job(namespace=self.namespace, name=self._job(step), facets=of_job),
            producer=self.producer,
            inputs=inputs or [],
            outputs=outputs or [],
        )

    def _id(self, step: str | None) -> str:
        return str(uuid.uuid5(_IDS, f"{self.project.name}/{self.run.id}/{step or ''}"))

    def _job(self, step: str | None) -> str:
        return ".".join(filter(None, (self.project.name, self.run.pipeline, step)))

    def _sources(self) -> list[InputDataset]:
        """Name the tables of the project, as other tools name them: by path, or by database."""
        return [InputDataset(*self._place(name)) for name in sorted(self.project.sources)]

    def _place(self, name: str) -> tuple[str, str]:
        source = self.project.sources[name]
        if source.path is not None:
            is_remote = "://" in source.path
            bucket = urlsplit(source.path)
            return (
                (f"{bucket.scheme}://{bucket.netloc}", bucket.path.lstrip("/"))
                if is_remote
                else ("file", str((self.root / source.path).resolve()))
            )
        database = urlsplit(source.database or "")
        server = database.netloc.rpartition("@")[2]
        return f"{database.scheme.partition('+')[0]}://{server}", f"{database.path.lstrip('/')}.{name}"

    def _read(self, artifact: Artifact) -> InputDataset:
        step, output = artifact
        name = f"{step}.{output}"
        return InputDataset(self.namespace, f"{self.project.name}.{name}", facets=self._version(name))

    def _written(self, name: str) -> list[OutputDataset]:
        if name not in self.run.artifacts:
            return []
        written = [OutputDataset(self.namespace, f"{self.project.name}.{name}", facets=self._version(name))]
        release = self._release() if name == _RELEASED else None
        if release is not None:
            version: dict[str, DatasetFacet] = {
                "version": dataset_version_dataset.DatasetVersionDatasetFacet(release.version)
            }
            written.append(OutputDataset(self.namespace, f"{self.project.name}.registered_model", facets=version))
        return written

    def _version(self, name: str) -> dict[str, DatasetFacet]:
        """Return the version of an artifact: the hash of a snapshot's content, of others the run."""
        version = self.run.id
        path = self.run.artifacts.get(name)
        if name == _SNAPSHOT and path is not None and SnapshotDescription.at(path).is_file():
            version = SnapshotDescription.read(path).content_hash
        return {"version": dataset_version_dataset.DatasetVersionDatasetFacet(version)}

    def _release(self) -> RegisteredVersion | None:
        try:
            return RegisteredVersion.read(self.run.artifacts[_RELEASED])
        except (OSError, StepFailed):
            return None
