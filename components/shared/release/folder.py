"""Traffic of a local endpoint: shares in the folder's ``routing.json``, which the server on this machine follows."""

from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from components.shared import inference
from components.shared.documents.release import RegisteredVersion
from components.shared.documents.traffic_counts import TrafficCounts
from components.shared.errors import InputError, StepFailed
from components.shared.release import endpoint_folder, routing
from components.shared.release.journal import ReleaseJournal
from components.shared.release.pace import Pace
from components.shared.release.routing import Routing
from components.shared.release.sample import Sample
from components.shared.release.traffic import Counted

_APPEAR_S = 2.0
_FOLLOW_S = 5.0
_LOG = "; the endpoint's server.log says why."


class FolderTraffic:
    """The versions in an endpoint's folder.

    Args:
        endpoint: The folder.
        pace: How long the server may take.
        manifests: Folder with the candidate's release; None if the endpoint has it already.
    """

    def __init__(self, endpoint: Path, pace: Pace, manifests: Path | None = None) -> None:
        self._endpoint, self._pace, self._manifests = endpoint, pace, manifests

    def answering(self) -> str | None:
        """Return the version that answers most requests."""
        return routing.answering(self._endpoint)

    def refresh(self, release: RegisteredVersion, load_sample: Callable[[], Sample]) -> bool:
        """Return False: whoever started the server decides when it is started again."""
        return False

    def serving(self) -> bool:
        """Return whether a server runs on the folder."""
        return endpoint_folder.server(self._endpoint) is not None

    def describe(self, journal: ReleaseJournal) -> ReleaseJournal:
        """Wait for a server that is starting; a run whose steps all come from the cache gets here before its server."""
        self._pace.within(lambda: self.serving() or endpoint_folder.starting(self._endpoint), _APPEAR_S)
        self._pace.within(lambda: self.serving() or not endpoint_folder.starting(self._endpoint), self._pace.start_s)
        self._url()
        folder = endpoint_folder.release_folder(self._endpoint, journal.version)
        return journal.model_copy(update={"installed_before": folder.is_dir()})

    def prepare(self, journal: ReleaseJournal) -> ReleaseJournal:
        """Return the journal as it is; a folder has one layout."""
        return journal

    def place(self, journal: ReleaseJournal) -> None:
        """Copy the release into the folder and let the server load it."""
        if self._manifests is not None:
            endpoint_folder.install(self._manifests, self._endpoint, journal.version)
        current = routing.read(self._endpoint)
        if journal.version not in current.versions:
            shares = {**current.shares, journal.version: 0}
            routing.write(self._endpoint, current.model_copy(update={"shares": shares}))

    def await_ready(self, journal: ReleaseJournal) -> None:
        """Wait until the server has loaded and warmed the candidate."""
        problem = f"release {journal.version} did not become ready"
        self._pace.until(lambda: self._loaded(journal), self._pace.start_s, problem, _LOG)

    def scale_up(self, journal: ReleaseJournal) -> None:
        """Do nothing: all versions share the one server."""

    def route(self, journal: ReleaseJournal, share: int, *, mirrored: bool = False) -> None:
        """Write the shares, and wait for the server to follow them; one of before it could say so gets a moment."""
        if journal.former == journal.version:
            shares = {journal.version: 100}
        elif journal.former is None:
            # Nobody else could answer the rest.
            shares = {journal.version: 100 if share == 100 else 0}
        else:
            shares = {journal.former: 100 - share, journal.version: share}
        mirrors = (journal.version,) if mirrored else ()
        current = routing.read(self._endpoint)
        changed = Routing(shares=shares, mirrors=mirrors, sticky_key=current.sticky_key, former=current.former)
        routing.write(self._endpoint, changed)
        if self.serving():
            self._pace.within(lambda: self._follows(journal, changed), _FOLLOW_S)

    def counts(self, journal: ReleaseJournal) -> Counted:
        """Ask the server, if one runs."""
        server = endpoint_folder.server(self._endpoint)
        if server is None:
            return Counted(journal, None)
        path = f"/v2/models/{quote(journal.name)}/stats"
        try:
            status, content = inference.call(server.url, path)
        except StepFailed:
            return Counted(journal, None)
        return Counted(journal, TrafficCounts.parse(content, path) if status == 200 else None)

    def query(self, journal: ReleaseJournal, sample: Sample, *, isolated: bool) -> None:
        """Query the server, by version or by the public name."""
        url = self._url()
        if not isolated:
            problem = f"release {journal.version} did not take over"
            self._pace.until(lambda: _answers(url, sample), self._pace.route_s, problem, _LOG)
        sample.verify(url, by_version=isolated)

    def retire(self, journal: ReleaseJournal) -> None:
        """Let the server drop the former version; its manifests stay for a rollback."""
        former = journal.former
        if former == journal.version:
            former = routing.read(self._endpoint).former
        routing.write(self._endpoint, Routing.to(journal.version, former))

    def remove(self, journal: ReleaseJournal) -> None:
        """Let the server drop the candidate, and remove its files."""
        routing.write(self._endpoint, Routing.to(journal.former, routing.read(self._endpoint).former))
        if journal.version == journal.former:
            return
        if not journal.installed_before:
            endpoint_folder.uninstall(self._endpoint, journal.version)
        self._await_dropped(journal)

    def _await_dropped(self, journal: ReleaseJournal, deadline_s: float = 10.0) -> None:
        """Give the server the moment that it needs to follow; one that is gone needs none."""
        server = endpoint_folder.server(self._endpoint)
        if server is not None:
            url = server.url
            self._pace.within(lambda: _dropped(url, journal), deadline_s)

    def _follows(self, journal: ReleaseJournal, changed: Routing) -> bool:
        counts = self.counts(journal).counts
        return counts is not None and (counts.shares, counts.mirrors) == (changed.shares, changed.mirrors)

    def _loaded(self, journal: ReleaseJournal) -> bool:
        status, state = inference.call(self._url(), _ready_path(journal))
        if status == 503:
            raise StepFailed(f"the server can't load release {journal.version}: {state.get('state')}")
        return status == 200

    def _url(self) -> str:
        server = endpoint_folder.server(self._endpoint)
        if server is None:
            raise StepFailed(
                f"no server runs on the endpoint {self._endpoint}; start one with 'perennial serve' and run again."
            )
        return server.url


def _ready_path(journal: ReleaseJournal) -> str:
    return f"/v2/models/{quote(journal.name)}/versions/{quote(journal.version)}/ready"


def _dropped(url: str, journal: ReleaseJournal) -> bool:
    try:
        return inference.call(url, _ready_path(journal))[0] == 404
    except StepFailed:
        return True


def _answers(url: str, sample: Sample) -> bool:
    try:
        return sample.answering(url) == sample.version
    except InputError:
        # Before the first release has taken over, the public name is unknown.
        return False
