"""The journal of a release: all that another process needs to finish it or to undo it."""

from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, ClassVar, Literal, Protocol

from components.shared.documents.document import Document, Part
from components.shared.documents.release import RegisteredVersion
from components.shared.errors import StepFailed
from components.shared.release.analysis import Exposure
from components.shared.release.machine import Phase, ReleaseState
from components.shared.release.plan import BASIC, Plan
from components.shared.release.tally import Tally

Layout = Literal["canary", "two_services"]


class ReleaseUnderWay(StepFailed):
    """Another process is releasing to the same endpoint."""


class ClusterObjects(Part):
    """What a release on a cluster needs besides.

    Args:
        layout: Inside one InferenceService, or as a service of its own behind a route of ours.
        pods: How many pods the former version had.
        scale: Smallest and largest number of pods that the former version is set to.
        service: The InferenceService of the candidate.
        runtime: Its ServingRuntime.
        tally: What the pods of both versions counted while the candidate is exposed; None before the first look.
    """

    layout: Layout
    pods: int
    scale: tuple[int, int]
    service: dict[str, Any]
    runtime: dict[str, Any]
    tally: Tally | None = None


class Approval(Part):
    """Who let a candidate take over.

    Args:
        who: The account.
        at: When.
        why: What it said about it.
    """

    who: str
    at: datetime
    why: str | None = None


class ReleaseJournal(Document):
    """A release under way.

    Args:
        release: What takes over.
        former: The version that answered, None at the first release.
        former_champion: The version that had the alias; None where there was none.
        plan: How the candidate takes over.
        phase: Where the release is.
        step: In which step of the plan, while it is exposed.
        holder: Who is releasing, for messages.
        installed_before: Whether the endpoint had the candidate's files before, so that an undo keeps them.
        cluster: What only a cluster needs.
        exposure: What is known of the candidate while it is watched.
        held: Why nothing happens until somebody decides; None otherwise.
        approval: Who let the candidate take over.
        harm: Why the candidate is taken back and must not be released again unchanged; None otherwise.
        withdrawn: Why somebody, a newer release or the plan ended this release, so that a retry must not begin it
            again; None otherwise.
    """

    FILE: ClassVar[str] = "journal.json"

    release: RegisteredVersion
    former: str | None
    former_champion: str | None
    plan: Plan = BASIC
    phase: Phase = Phase.PLACE
    step: int = 0
    holder: str | None = None
    installed_before: bool = False
    cluster: ClusterObjects | None = None
    exposure: Exposure | None = None
    held: str | None = None
    approval: Approval | None = None
    harm: str | None = None
    withdrawn: str | None = None

    @property
    def version(self) -> str:
        """The candidate's version."""
        return self.release.version

    @property
    def name(self) -> str:
        """The registered model."""
        return self.release.name

    @property
    def state(self) -> ReleaseState:
        """Where the release is."""
        return ReleaseState(self.phase, self.step)

    def in_state(self, state: ReleaseState) -> "ReleaseJournal":
        """Return the journal in another state."""
        return self.model_copy(update={"phase": state.phase, "step": state.step})

    @classmethod
    def upgraded(cls, content: dict[str, Any], version: int) -> dict[str, Any]:
        """Read a journal from before there were phases: the alias decides, unless the release was being undone."""
        keys = ("name", "version", "storage_uri", "manifest_sha256")
        upgraded: dict[str, Any] = {
            "release": {key: content[key] for key in keys if key in content},
            "former": content.get("former"),
            "former_champion": content.get("former_champion"),
            "phase": Phase.UNDO if content.get("undoing") else Phase.COMMIT,
        }
        if "way" in content:
            upgraded["cluster"] = {key: content[key] for key in ("pods", "scale", "service", "runtime")}
            upgraded["cluster"]["layout"] = "canary" if content["way"] == "canary" else "two_services"
        return upgraded


class JournalStore(Protocol):
    """Keep the one journal of an endpoint, which one process at a time may write."""

    def hold(self) -> AbstractContextManager[None]:
        """Keep every other process from releasing to the endpoint; the system ends the hold of a process that dies.

        Raises:
            ReleaseUnderWay: If another process holds it.
        """

    def read(self) -> ReleaseJournal | None:
        """Return the release under way, or None."""

    def write(self, journal: ReleaseJournal | None) -> None:
        """Write the release under way (None: it is over); only while it is held."""
