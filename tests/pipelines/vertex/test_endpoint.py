"""What the command does about releases at Vertex AI: ask, say what answers, go back; and what it does not submit."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from google.cloud import aiplatform_v1 as api

from components.deployment import logic
from components.shared.documents.release import RegisteredVersion
from components.shared.documents.verdict import Verdict
from components.shared.errors import GateRejected, InputError, StepFailed
from components.shared.release.plan import Plan, PlanStep
from pipelines.command import cli
from pipelines.targets.vertex.endpoint import ProjectEndpoint
from tests import documents
from tests.components.deployment.conftest import models  # noqa: F401 - a fixture
from tests.pipelines import toy
from tests.pipelines.vertex.conftest import Google, project_in
from tests.pipelines.vertex.double import Server
from tests.pipelines.vertex.vertex_place import HASTY, SCORES, VertexPlace

WATCHED = Plan(strategy="canary", steps=(PlanStep(share=25, min_requests=10), PlanStep(share=100)))
ENDPOINT = "vertex://my-project/europe-west4?bucket=models/prefix"


@pytest.fixture
def place(vertex_server: Server, models: SimpleNamespace) -> Iterator[VertexPlace]:  # noqa: F811 - a fixture
    with VertexPlace(vertex_server, models) as place:
        yield place


def endpoint_of(place: VertexPlace) -> ProjectEndpoint:
    return ProjectEndpoint(place.address(), place.project, lambda: place.models.client)


class TestEndpoint:
    def test_it_says_what_answers_and_with_which_share(self, place):
        assert endpoint_of(place).state() == "no release yet"
        place.released("1")
        assert endpoint_of(place).state() == "release 1"
        place.released("2", WATCHED)
        assert endpoint_of(place).state() == "release 1 (75 %), release 2 (25 %)"

    def test_an_answer_has_the_version_and_the_classes_of_its_package(self, place):
        place.released("1")
        answer = endpoint_of(place).ask([{"usage": 1.0, "plan": "basic"}])

        assert (answer["model_name"], answer["model_version"], len(answer["classes"])) == ("made", "1", 2)
        assert [row["score"] for row in answer["predictions"]] == SCORES[:1]

    def test_nobody_answers_before_the_first_release_and_refused_rows_are_named(self, place):
        with pytest.raises(InputError, match="would not predict: The Endpoint does not exist"):
            endpoint_of(place).ask([{}])
        place.released("1")
        with pytest.raises(InputError, match="too many rows"):
            endpoint_of(place).ask([{}] * 4)

    def test_a_rollback_brings_back_the_newest_former_version_and_takes_back_one_that_waits(self, place):
        for version in ("1", "2", "3"):
            place.released(version)
        place.double.requests.clear()

        assert endpoint_of(place).roll_back(None) == "2"
        assert endpoint_of(place).roll_back("1") == "1"
        assert (endpoint_of(place).state(), place.champion()) == ("release 1", "1")
        place.released("3", WATCHED)
        assert endpoint_of(place).roll_back(None) == "1"
        assert (endpoint_of(place).state(), endpoint_of(place).under_way()) == ("release 1", None)
        assert place.asked(api.UploadModelRequest) == []

    def test_a_rollback_of_the_first_release_has_nowhere_to_go(self, place):
        with pytest.raises(InputError, match="nothing has been released to the endpoint"):
            endpoint_of(place).roll_back(None)
        place.released("1")
        with pytest.raises(InputError, match="release 1 is the first one at the endpoint"):
            endpoint_of(place).roll_back(None)

    def test_a_release_whose_process_died_is_recovered_and_one_that_waits_stays(self, place):
        place.released("1")
        place.double.stuck, place.double.cancellable = {"DeployModel"}, False
        with pytest.raises(StepFailed, match="could not be rolled back"):
            place.released("2", pace=HASTY)
        place.double.stuck = set()
        endpoint_of(place).recover()
        assert (endpoint_of(place).under_way(), endpoint_of(place).state()) == (None, "release 1")
        place.released("2", WATCHED)
        endpoint_of(place).recover()
        assert endpoint_of(place).under_way() is not None


class TestStep:
    def deployed(self, place: VertexPlace, tmp_path: Path, version: str = "1", *, promote: bool = True) -> str:
        documents.verdict(promote).write(tmp_path / Verdict.FILE)
        folder = place.manifests(version)
        return logic.deploy(place.project, folder, tmp_path / Verdict.FILE, place.models.uri, place.address())

    def test_the_deployment_step_releases_to_the_endpoint_of_its_address(self, place, tmp_path):
        assert self.deployed(place, tmp_path) == "released"
        assert self.deployed(place, tmp_path) == "unchanged"
        assert endpoint_of(place).state() == "release 1"

    def test_a_retry_of_the_step_does_not_begin_an_aborted_release_again(self, place, tmp_path):
        place.released("1")
        place.released("2", WATCHED)
        endpoint_of(place).driver().abort("it is Friday")

        with pytest.raises(StepFailed, match=r"release 2 was withdrawn while this run released it \(it is Friday\)"):
            self.deployed(place, tmp_path, "2")
        assert endpoint_of(place).state() == "release 1"
        another = place.manifests("2")
        RegisteredVersion.read(another).model_copy(update={"registration": "of a new run"}).write(another)
        assert self.deployed(place, tmp_path, "2") == "released"

    def test_what_the_gate_rejected_never_reaches_google(self, place, tmp_path):
        with pytest.raises(GateRejected):
            self.deployed(place, tmp_path, promote=False)
        assert place.double.requests == []


@pytest.fixture
def perennial(google: Google, tmp_path: Path) -> Callable[..., str]:
    """The command, in a small project whose release has a strategy."""

    def run(*arguments: str, release: str, code: int = 0, endpoint: str = ENDPOINT) -> str:
        root = project_in(tmp_path / "project", f"{toy.PROJECT}release: {release}\n")
        settings = (*google.settings, f"services.endpoint={endpoint}")
        given = [part for setting in settings for part in ("--set", setting)]
        done = CliRunner().invoke(cli.main, [*arguments, "--project", str(root), "--target", "vertex", *given])
        assert done.exit_code == code, done.output
        return " ".join(done.output.split())

    return run


class TestSubmit:
    @pytest.mark.parametrize("release", ["{strategy: canary}", "{strategy: basic, approvers: [ada]}"])
    def test_a_canary_and_approvers_are_submitted_with_the_endpoints_address(self, perennial, google, release):
        perennial("submit", "--no-wait", release=release)

        (request,) = google.double.requests
        assert request.pipeline_job.runtime_config.parameter_values["endpoint"] == ENDPOINT

    def test_strategies_that_vertex_cannot_carry_out_are_refused_before_training(self, perennial, google):
        said = perennial("submit", "--no-wait", release="{strategy: shadow}", code=2)

        assert "copies no requests and splits them by chance, not by entity. Use the strategy 'canary'" in said
        assert google.double.requests == []

    def test_a_cluster_behind_vertex_pipelines_still_releases_basic_only(self, perennial, google):
        said = perennial("submit", "--no-wait", release="{strategy: canary}", endpoint="kserve://models", code=2)

        assert "needs somebody who watches it" in said

    def test_the_release_verbs_name_the_address_that_they_need(self, perennial):
        said = perennial("release", "status", release="{strategy: basic}", endpoint="kserve://models", code=2)

        assert "services.endpoint of the target is 'kserve://models', which this command does not reach" in said
