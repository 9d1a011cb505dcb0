"""What every target can be asked to do, whichever machines it runs on.

A backend implements what its target has. The rest is inherited from ``Backend`` and says in one sentence that the
target does not have it and what to use instead.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, NoReturn, Protocol

from components.shared import registry
from components.shared.errors import InputError
from components.shared.incidents.folders import IncidentFolders
from components.shared.inference import Subject
from components.shared.project import Project
from pipelines.definitions.catalog import DEFAULT, PipelineEntry, entry
from pipelines.project import project_file
from pipelines.runs import Run, Step
from pipelines.targets import samples
from pipelines.targets.model import Images, Target
from pipelines.targets.state import State

if TYPE_CHECKING:
    import pyarrow as pa
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

    from components.shared.label_store import AddedLabels


@dataclass(frozen=True)
class RecordedInputs:
    """What a run was made from; each field has the name of the pipeline parameter that takes it."""

    project_uri: str
    snapshot_uri: str
    champion_uri: str
    start_uri: str
    study_storage: str
    """An empty folder: a study of the same rows would be found in that of the project, and not be made again."""


class Forgotten(NamedTuple):
    """How much was removed about some entities, and what removes the rows that a server still holds."""

    rows: int
    labels: int
    rest: str


class Collected(NamedTuple):
    """What housekeeping removed, or would remove.

    Attributes:
        removed: Each thing, in words.
        bytes: How much that frees.
        kept: Why something stays that may go another time, one sentence each.
    """

    removed: tuple[str, ...]
    bytes: int
    kept: tuple[str, ...] = ()


@dataclass(frozen=True)
class RunRequest:
    """Which pipeline to run, and how; every backend takes the same request."""

    pipeline: str = DEFAULT
    seed: int = 7
    """Of splits, search and training."""
    use_cache: bool = True
    """Take the outputs of steps that did not change from the cache."""
    start: datetime | None = None
    """Exclusive begin of the window, for a pipeline that has one; None is no limit."""
    end: datetime | None = None
    """Inclusive end of the window; None is no limit."""
    wait_for_lock: bool = False
    """Wait for another run of this project on this machine instead of leaving."""
    experiment: str | None = None
    """Where a server files the run; None is the target's, or the project's name."""
    source_root: str | None = None
    """A folder in a bucket that already has the tables; None uses those next to the project file."""
    recorded: RecordedInputs | None = None
    """What an earlier run was made from, to make it again; None takes what the project has now."""
    train_since: datetime | None = None
    """Train on rows from this time on, as ``split.since`` of the project file says; None leaves that to the file."""
    most_rows: int = 0
    """About so many logged rows are compared, for a pipeline that samples them; 0 is all."""

    def applied_to(self, project: Project) -> Project:
        """Return the project with what this request asks of its split."""
        if self.train_since is None:
            return project
        return project.model_copy(update={"split": project.split.model_copy(update={"since": self.train_since})})

    @property
    def entry(self) -> PipelineEntry:
        """The pipeline's entry in the catalogue.

        Raises:
            InputError: If there is no such pipeline.
        """
        return entry(self.pipeline)


def iso(moment: datetime | None) -> str:
    """Write a moment as a pipeline takes it: ISO, UTC, an empty text for None.

    >>> iso(datetime(2024, 1, 2)), iso(None)
    ('2024-01-02T00:00:00', '')
    """
    return moment.isoformat() if moment else ""


class RunObserver:
    """Receives what happens to a run. Every method does nothing; override those that matter."""

    def announced(self, sentence: str) -> None:
        """Something takes a while, or needs to be known."""

    def started(self, run: Run) -> None:
        """A run begins; its record lists its steps."""

    def changed(self, step: Step) -> None:
        """The state of a step changed."""

    def ended(self, run: Run) -> None:
        """The run has ended, or is no longer followed."""


class StartedRun(Protocol):
    """A run that a backend started."""

    @property
    def record(self) -> Run:
        """Its record; ``exit_code`` is None until it has ended."""

    def follow(self) -> Path:
        """Wait until the run has ended, write its report, and return the report's path.

        Raises:
            KeyboardInterrupt: After Ctrl-C or SIGTERM. On this machine every task has ended then; a run at a server
                continues.
        """


@dataclass(frozen=True)
class RunSummary:
    """One line of a list of runs."""

    id: str
    name: str
    state: str
    created: datetime
    seconds: float | None
    """How long it took; None while it continues, or where it is not known."""


@dataclass(frozen=True)
class Schedule:
    """A pipeline that a server runs by the clock."""

    id: str
    name: str
    cron: str
    enabled: bool
    version_id: str | None
    created: datetime | None


@dataclass(frozen=True)
class Version:
    """A version of a pipeline at a server."""

    pipeline_id: str
    pipeline: str
    id: str
    name: str
    fresh: bool
    """It was uploaded just now; otherwise it existed."""


class RunningServer(Protocol):
    """A model server that a backend started."""

    @property
    def addresses(self) -> str:
        """Where it answers, for people."""

    @property
    def ports(self) -> tuple[int, int]:
        """Of REST and gRPC."""

    def poll(self) -> int | None:
        """Return its exit code; None while it runs."""


class Backend(ABC):
    """One target of one project."""

    is_remote: ClassVar[bool]
    """Whether runs happen at a server, and continue without this command."""

    def __init__(self, name: str, target: Target, state: State) -> None:
        """Keep what the target file says; nothing is connected or built yet.

        Args:
            name: The target as the user named it.
            target: The target file.
            state: The project's folders.
        """
        self.name, self.state, self._settings = name, state, target

    @property
    def project(self) -> Project:
        """The project file, read again at each call.

        Raises:
            InputError: If it is not valid.
        """
        return project_file.read(self.state.project_file)

    @property
    def images(self) -> Images:
        """Where the target finds the images of the steps."""
        self._lacks("images", "it runs processes, so name another target with --target")

    @abstractmethod
    def compile(self, pipeline: PipelineEntry) -> str:
        """Compile a pipeline with all that only this target knows, such as its images; return YAML."""

    @abstractmethod
    def start(self, request: RunRequest, observer: RunObserver) -> AbstractContextManager[StartedRun]:
        """Start a run; what it needs is kept until the context is left.

        Raises:
            InputError: If project, target or platform is not valid, or another run is under way.
            StepFailed: If what the run needs cannot be made.
        """

    @abstractmethod
    def runs(self, experiment: str | None = None, last: int = 10) -> Sequence[RunSummary]:
        """List the newest runs, the newest first."""

    @abstractmethod
    def logs(self, run: str, step: str | None = None) -> AbstractContextManager[Run]:
        """Give the record of a run, brought up to date, with the logs of its steps (or of one) on this machine.

        Args:
            run: The id of the run, or the beginning of one.
            step: Whose log is needed; None needs all.

        Raises:
            InputError: If there is no such run or step, or more than one.
        """

    @abstractmethod
    def results(self, run: str) -> AbstractContextManager[Run]:
        """Give the record of a run, brought up to date, with the documents of its steps on this machine.

        Raises:
            InputError: If there is no such run, or more than one.
        """

    @abstractmethod
    def ask(
        self,
        rows: Sequence[Mapping[str, Any]] | None,
        *,
        explains: bool = False,
        interval: float | None = None,
        subject: Subject | None = None,
    ) -> dict[str, Any]:
        """Ask the target's endpoint for the predictions of rows; None sends a row that training kept.

        Returns:
            ``{"model_name", "model_version", "classes", "positive", "predictions": [{"score", "decision",
            "out_of_vocabulary"}]}``; ``classes`` is absent for a regression, ``positive`` unless the task is binary.
            If ``explains``, a prediction also has ``margin``, ``base``, ``contributions`` and ``contribution_errors``;
            with ``interval``, a share of labels to hold, ``lower`` and ``upper`` of a regression, otherwise ``set``;
            with ``subject``, whose features the server looks up, ``features`` and ``feature_ages``.

        Raises:
            InputError: If nothing was released or a row is refused; the sentence names the field.
            StepFailed: If no server answers.
        """

    @abstractmethod
    def endpoint_state(self) -> str:
        """Say in a few words which release answers, and where, or why none does."""

    def open_registry(self) -> "MlflowClient | None":
        """Open the registry; None where no run has created it yet.

        Raises:
            StepFailed: If it is damaged or not reachable.
        """
        return registry.open(self.state.registry_uri) if self.state.registry_exists else None

    def registered(self, version: str | None) -> tuple["MlflowClient", "ModelVersion"]:
        """Open the registry and return a version of the project's model; None is the champion.

        Raises:
            InputError: If there is no such version, or none was released.
            StepFailed: If the registry cannot be read.
        """
        client = self.open_registry()
        if client is not None:
            registered = registry.version(client, self.project.name, version)
            if registered is not None:
                return client, registered
        raise InputError(samples.why_nothing_answers(self.state))

    def model_package(self, version: str | None, folder: Path) -> tuple[str, Path]:
        """Copy a registered model's package out of the registry.

        Args:
            version: A version of the model; None is the champion.
            folder: An existing folder that receives ``package/``.

        Returns:
            The version, and the folder of the package.

        Raises:
            InputError: If there is no such version, or none was released.
            StepFailed: If the registry cannot be read.
        """
        client, registered = self.registered(version)
        return str(registered.version), registry.download(client, str(registered.source), folder / "package")

    def end(self, run: str) -> str:
        """End a run and return its id."""
        self._lacks("server that could end a run", "press Ctrl-C where the run was started")

    def upload(self, pipeline: PipelineEntry, revision: str | None) -> Version:
        """Upload the compiled pipeline as a version at the server; None names it by the git revision."""
        self._lacks("server to upload to", "take --target kfp")

    def create_schedule(self, request: RunRequest, cron: str, name: str | None) -> tuple[Schedule, Version]:
        """Run a pipeline as it is now by the clock, under a name; None is the pipeline's."""
        self._no_schedules()

    def schedules(self, experiment: str | None = None) -> Sequence[Schedule]:
        """List the schedules, the newest first."""
        self._no_schedules()

    def pause_schedule(self, name: str, experiment: str | None = None) -> None:
        """Start nothing until the schedule is resumed."""
        self._no_schedules()

    def resume_schedule(self, name: str, experiment: str | None = None) -> None:
        """Start runs again, from now on."""
        self._no_schedules()

    def delete_schedule(self, name: str, experiment: str | None = None) -> None:
        """Delete a schedule; runs of it that have ended stay."""
        self._no_schedules()

    def serve(
        self, observer: RunObserver, *, host: str, port: int, grpc_port: int, access: Sequence[str] = ()
    ) -> AbstractContextManager[RunningServer]:
        """Start a model server that belongs to this process; ``access`` are its options that say who may ask."""
        self._lacks("model server that a command could start", "take --target laptop or docker")

    def roll_back(self, version: str | None, observer: RunObserver) -> str:
        """Make a former version the champion again, as carefully as any release, and return it.

        Args:
            version: A version that answered here at some time; None is the one before the current.
            observer: Is notified of what takes a while.

        Raises:
            InputError: If there is no such version.
            StepFailed: If it does not answer right any more; the current version goes on answering.
        """
        self._lacks(
            "files of former releases", "run the pipeline again on the commit and the data of the version to release it"
        )

    @abstractmethod
    def add_labels(self, labels: "pa.Table", now: datetime) -> "AddedLabels":
        """Add labels that have become known since the prediction; see ``label_store.add``.

        Raises:
            InputError: If the store of the labels refuses the request.
        """

    @abstractmethod
    def forget(self, entities: Sequence[str], now: datetime) -> Forgotten:
        """Remove what the inference log, labels and outcomes hold about some entities up to now.

        Raises:
            InputError: If the bucket where they are refuses.
        """

    @abstractmethod
    def incidents(self) -> AbstractContextManager[IncidentFolders]:
        """Return the incidents of this target; what is changed in the folders is kept at the end of the context.

        Raises:
            InputError: If the target keeps none, or the bucket where they are refuses.
        """

    def collect(self, keep: int, *, dry_run: bool, wait: bool) -> Collected:
        """Remove what no release, no lineage and none of the newest runs needs.

        Args:
            keep: Newest runs to keep, whatever they ended with.
            dry_run: Only return what would be removed.
            wait: Wait for a process of this machine that works on the project instead of refusing.

        Raises:
            InputError: If the target has no housekeeping of ours, or another process works on the project.
            StepFailed: If a service of the target does not answer.
        """
        self._lacks("housekeeping of ours", "a lifecycle rule of its bucket removes old files")

    @abstractmethod
    def check_machine(self) -> None:
        """Do nothing if runs happen on this machine.

        Raises:
            InputError: If they happen elsewhere.
        """

    @abstractmethod
    def check_server(self, advice: str = "use 'perennial run' there, or take --target kfp") -> None:
        """Do nothing if runs happen at a server.

        Args:
            advice: What to do otherwise.

        Raises:
            InputError: If they happen on this machine.
        """

    def _no_schedules(self) -> NoReturn:
        self._lacks("schedules", "call 'perennial run' from cron, or schedule on a cluster (--target kfp)")

    def _lacks(self, what: str, advice: str) -> NoReturn:
        raise InputError(f"the target {self.name!r} of kind {self._settings.kind!r} has no {what}; {advice}.")
