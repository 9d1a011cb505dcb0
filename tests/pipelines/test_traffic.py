"""Every kind of endpoint keeps the promises of ``Traffic``.

A folder, a canary, two services behind a route of ours, and an endpoint of Vertex AI.
"""

import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from components.shared import inference
from components.shared.documents.release import RegisteredVersion
from components.shared.errors import PerennialError, StepFailed
from components.shared.files import sha256, write_json
from components.shared.release import local as local_release
from components.shared.release import routing
from components.shared.release.folder import FolderTraffic
from components.shared.release.journal import ReleaseJournal
from components.shared.release.kserve.address import Address
from components.shared.release.kserve.cluster import Cluster
from components.shared.release.kserve.release import read_objects
from components.shared.release.kserve.traffic import ClusterTraffic
from components.shared.release.pace import Pace
from components.shared.release.routing import Routing
from components.shared.release.sample import Sample
from components.shared.release.traffic import Traffic
from pipelines.images import environments
from pipelines.targets.local import endpoint as local_endpoint
from tests.components.deployment import kserve_double as double
from tests.components.deployment.conftest import kubeconfig, models, no_other_kserve  # noqa: F401 - fixtures
from tests.components.deployment.kserve_double import Behaviour
from tests.components.deployment.kserve_place import PACE, SCORES, Place
from tests.pipelines.vertex.conftest import vertex_server  # noqa: F401 - a fixture
from tests.pipelines.vertex.double import Server
from tests.pipelines.vertex.vertex_place import VertexPlace

SERVED = "tiny"
LOCAL_PACE = Pace(start_s=30, route_s=10, poll_s=0.02)


@dataclass
class Endpoint:
    """An endpoint of one kind: its traffic, and what its clients see."""

    traffic_of: Callable[[str], Traffic]
    sample_of: Callable[[str], Sample]
    release_of: Callable[[str], RegisteredVersion]
    public_version: Callable[[], str | None]
    mirrors: bool

    def journal(self, version: str, former: str | None) -> ReleaseJournal:
        """Begin a release, as the driver does."""
        traffic = self.traffic_of(version)
        journal = ReleaseJournal(release=self.release_of(version), former=former, former_champion=former)
        return traffic.prepare(traffic.describe(journal))

    def placed(self, version: str, former: str | None) -> tuple[Traffic, ReleaseJournal]:
        traffic, journal = self.traffic_of(version), self.journal(version, former)
        # Whatever a killed process may have done already is done again.
        for _ in range(2):
            traffic.place(journal)
            traffic.await_ready(journal)
        return traffic, journal

    def released(self, version: str, former: str | None) -> None:
        traffic, journal = self.placed(version, former)
        traffic.scale_up(journal)
        for _ in range(2):
            traffic.route(journal, 100)
        traffic.query(journal, self.sample_of(version), isolated=False)
        for _ in range(2):
            traffic.retire(journal)

    def answers(self, count: int = 30) -> Counter[str | None]:
        return Counter(self.public_version() for _ in range(count))


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("package") / "model"
    command = [str(_serving_python()), "-m", "tests.serving.tiny", str(folder)]
    subprocess.run(command, cwd=environments.ROOT, check=True)
    return folder


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[local_endpoint.Running]:
    folder = tmp_path_factory.mktemp("traffic") / "endpoint"
    with local_endpoint.start(folder, python=_serving_python(), source=environments.ROOT, grpc_port=None) as running:
        yield running


def _serving_python() -> Path:
    return environments.virtualenv(environments.ROOT / "tests" / "requirements.txt", environments.lock_of("serving"))


@contextmanager
def folder_endpoint(running: local_endpoint.Running, package: Path, root: Path) -> Iterator[Endpoint]:
    routing.write(running.endpoint, Routing())

    def release_of(version: str) -> RegisteredVersion:
        manifest = sha256(package / "manifest.json")
        return RegisteredVersion(name=SERVED, version=version, storage_uri=package.as_uri(), manifest_sha256=manifest)

    def traffic_of(version: str) -> Traffic:
        folder = root / version
        predictor = {"model": {"storageUri": package.as_uri()}}
        write_json(folder / "inferenceservice.yaml", {"spec": {"predictor": predictor}})
        release_of(version).write(folder)
        return FolderTraffic(running.endpoint, LOCAL_PACE, folder)

    def sample_of(version: str) -> Sample:
        return Sample.of(release_of(version), None)

    def public_version() -> str | None:
        rows: Any = sample_of("1").rows[:1]
        try:
            return str(inference.predict(running.server.rest_url, SERVED, rows)["model_version"])
        except PerennialError:
            return None

    yield Endpoint(traffic_of, sample_of, release_of, public_version, mirrors=True)
    routing.write(running.endpoint, Routing())


@contextmanager
def cluster_endpoint(config_path: str, registered: Any, behaviour: Behaviour) -> Iterator[Endpoint]:
    with double.namespace(config_path) as api:
        place = Place(api, registered, behaviour)

        def traffic_of(version: str) -> Traffic:
            objects, address = read_objects(registered.folder / "releases" / version), Address.parse(place.endpoint)
            return ClusterTraffic(Cluster(address.namespace), "made", "made", address, PACE, objects)

        def sample_of(version: str) -> Sample:
            return Sample(registered.plans[version].name, version, [{}] * len(SCORES), SCORES, 1e-6)

        mirrors = not behaviour.routes_canaries
        yield Endpoint(traffic_of, sample_of, registered.plans.__getitem__, place.answers, mirrors)
        place.controller.end()
        place.gateway.end()


@contextmanager
def vertex_endpoint(server: Server, registered: Any) -> Iterator[Endpoint]:
    with VertexPlace(server, registered) as place:

        def public_version() -> str | None:
            return place.double.choose(place.endpoint)[0]

        def traffic_of(version: str) -> Traffic:
            return place.release(version).traffic

        yield Endpoint(traffic_of, place.sample, registered.plans.__getitem__, public_version, mirrors=False)


@pytest.fixture(params=["folder", "canary", "two services", "vertex"])
def endpoint(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Endpoint]:
    if request.param == "folder":
        opened = folder_endpoint(request.getfixturevalue("server"), request.getfixturevalue("package"), tmp_path)
    elif request.param == "vertex":
        opened = vertex_endpoint(request.getfixturevalue("vertex_server"), request.getfixturevalue("models"))
    else:
        request.getfixturevalue("no_other_kserve")
        behaviour = Behaviour(routes_canaries=request.param == "canary")
        opened = cluster_endpoint(request.getfixturevalue("kubeconfig"), request.getfixturevalue("models"), behaviour)
    with opened as endpoint:
        yield endpoint


class TestTraffic:
    """What the release machine relies on."""

    def test_a_candidate_answers_in_isolation_while_the_public_name_stays_with_the_former_version(self, endpoint):
        endpoint.released("1", None)

        traffic, journal = endpoint.placed("2", "1")
        traffic.query(journal, endpoint.sample_of("2"), isolated=True)

        assert endpoint.answers() == {"1": 30}
        assert traffic.answering() == "1"
        with pytest.raises(StepFailed):
            traffic.query(journal, _wrong(endpoint.sample_of("2")), isolated=True)

    def test_shares_are_shares_and_come_back(self, endpoint):
        endpoint.released("1", None)
        traffic, journal = endpoint.placed("2", "1")

        traffic.route(journal, 50)
        _until(lambda: set(endpoint.answers(40)) == {"1", "2"})
        for _ in range(2):
            traffic.route(journal, 0)
        _until(lambda: endpoint.answers() == {"1": 30})

    def test_after_the_shift_nobody_else_answers_and_the_former_version_can_go(self, endpoint):
        endpoint.released("1", None)

        endpoint.released("2", "1")

        assert endpoint.answers() == {"2": 30}
        assert endpoint.traffic_of("2").answering() == "2"

    def test_a_candidate_that_is_removed_leaves_the_former_version_and_nothing_else(self, endpoint):
        endpoint.released("1", None)
        traffic, journal = endpoint.placed("2", "1")
        traffic.route(journal, 100)

        for _ in range(2):
            traffic.route(journal, 0)
            traffic.remove(journal)

        _until(lambda: endpoint.answers() == {"1": 30})
        assert traffic.answering() == "1"
        with pytest.raises(PerennialError):
            traffic.query(journal, endpoint.sample_of("2"), isolated=True)

    def test_a_first_version_that_is_removed_leaves_nothing(self, endpoint):
        traffic, journal = endpoint.placed("1", None)

        for _ in range(2):
            traffic.route(journal, 0)
            traffic.remove(journal)

        assert traffic.answering() is None
        assert endpoint.answers(3) == {None: 3}

    @pytest.mark.parametrize("endpoint", ["folder", "canary", "two services"], indirect=True)
    def test_every_answer_is_counted_once_of_the_version_that_gave_it(self, endpoint):
        endpoint.released("1", None)
        endpoint.answers()
        traffic, journal = endpoint.placed("2", "1")
        traffic.route(journal, 50)
        journal = traffic.counts(journal).journal
        asked = endpoint.answers(60)

        counted = traffic.counts(journal)

        assert counted.counts is not None and counted.unread is counted.down is None
        answered = {version: counts.answered for version, counts in counted.counts.versions.items()}
        assert answered == {version: asked[version] for version in ("1", "2")}

    def test_copies_reach_the_candidate_only_where_the_endpoint_can_mirror(self, endpoint):
        endpoint.released("1", None)
        traffic, journal = endpoint.placed("2", "1")

        if endpoint.mirrors:
            traffic.route(journal, 0, mirrored=True)
        else:
            with pytest.raises(StepFailed, match="can't mirror requests; use a strategy without"):
                traffic.route(journal, 0, mirrored=True)

        assert endpoint.answers() == {"1": 30}
        traffic.route(journal, 0)
        traffic.remove(journal)
        assert endpoint.answers() == {"1": 30}


def _wrong(sample: Sample) -> Sample:
    return Sample(sample.name, sample.version, sample.rows, [score + 1 for score in sample.scores], sample.tolerance)  # type: ignore[operator]


def _until(reached: Callable[[], bool]) -> None:
    assert local_release.PACE.within(reached, 10)
