"""A release to an endpoint of Vertex AI: every request of the SDK says what it must, and whatever fails is undone."""

import contextlib
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from google.api_core.exceptions import InvalidArgument, PermissionDenied
from google.cloud import aiplatform_v1 as api
from google.protobuf import json_format
from google.rpc import status_pb2

from components.shared.errors import InputError, StepFailed
from components.shared.project import ServingSettings
from components.shared.release.journal import Approval, ReleaseUnderWay
from components.shared.release.plan import Plan, PlanStep
from components.shared.release.vertex.address import Address
from components.shared.release.vertex.container import Capacity, Container
from tests.components.deployment.conftest import models  # noqa: F401 - a fixture
from tests.pipelines.vertex.double import PARENT, Refused, Server, error_info, invalid
from tests.pipelines.vertex.vertex_place import HASTY, IMAGE, NAME, PACE, VertexPlace

CANARY = Plan(strategy="canary", steps=(PlanStep(share=20), PlanStep(share=50), PlanStep(share=100)))
"""Exposes without watching: one process carries it out."""


KILLED_AT = tuple(range(1, 74, 6))
"""Requests of a canary release after which its process dies; the last is beyond its end."""


@pytest.fixture
def place(vertex_server: Server, models: SimpleNamespace) -> Iterator[VertexPlace]:  # noqa: F811 - a fixture
    with VertexPlace(vertex_server, models) as place:
        yield place


def at_rest(place: VertexPlace, version: str | None) -> bool:
    """Champion and endpoint say this version, and nothing is left of any other."""
    endpoint = place.double.endpoints.get(place.endpoint)
    deployed = [] if endpoint is None else [model.display_name for model in endpoint.deployed_models]
    split = [] if endpoint is None else list(endpoint.traffic_split.values())
    state = (place.champion(), deployed, split, sorted(place.double.endpoints), place.double.changes)
    journal = place.storage.objects["prefix/releases/made.json"]
    expected = [] if version is None else [place.endpoint]
    assert state == (version, [f"v{version}"] * len(expected), [100] * len(expected), expected, {})
    assert b'"holder": null, "journal": null' in journal
    return True


class TestRequests:
    def test_the_first_upload_says_what_the_release_runs_in(self, place):
        assert place.released("1") == "released"

        (request,) = place.asked(api.UploadModelRequest)
        asked = json_format.MessageToDict(api.UploadModelRequest.pb(request))
        package = asked["model"].pop("artifactUri")
        args = asked["model"]["containerSpec"].pop("args")
        env = {entry["name"]: entry["value"] for entry in asked["model"]["containerSpec"].pop("env")}
        assert asked == {
            "parent": PARENT,
            "modelId": "made",
            "model": {
                "displayName": "made",
                "versionAliases": ["v1"],
                "versionDescription": "version 1 of made in the registry",
                "labels": {"perennial-project": "made", "perennial-version": "1"},
                "containerSpec": {
                    "imageUri": IMAGE,
                    "ports": [{"containerPort": 8080}],
                    "healthRoute": "/health",
                    "predictRoute": "/predict",
                },
            },
        }
        assert re.fullmatch(r"gs://models/prefix/models/made/1-d{12}", package)
        assert args == [
            "--name=made", "--authenticated-by=Vertex AI", "--host=0.0.0.0", "--version=1",
            f"--manifest-sha256={'d' * 64}",
        ]  # fmt: skip
        assert "MLFLOW_DISABLE_TELEMETRY" in env
        names = [name for name in place.storage.objects if name.startswith("prefix/models/made/1-")]
        assert {name.rpartition("/")[2] for name in names} >= {"manifest.json", "model.onnx", "sample.json"}

    def test_the_second_version_goes_to_the_same_model_and_takes_its_aliases(self, place):
        place.released("1")
        place.released("2")

        _, second = place.asked(api.UploadModelRequest)
        assert (second.model_id, second.parent_model) == ("", place.model)
        aliases = {number: sorted(model.version_aliases) for number, model in place.double.models[place.model].items()}
        assert aliases == {"1": ["v1"], "2": ["champion", "default", "v2"]}
        assert at_rest(place, "2")

    def test_a_deployment_asks_for_the_machines_of_the_project(self, vertex_server, models):  # noqa: F811
        serving = {"replicas_min": 2, "replicas_max": 5, "scale_target": 60}
        with VertexPlace(vertex_server, models, serving=serving) as place:
            place.released("1", machine="n1-standard-4", service_account="models@my-project.iam.gserviceaccount.com")
            staged, public = place.asked(api.DeployModelRequest)

        assert (staged.endpoint, public.endpoint) == (place.staging, place.endpoint)
        assert staged.deployed_model == public.deployed_model
        assert json_format.MessageToDict(api.DeployModelRequest.pb(public)) == {
            "endpoint": place.endpoint,
            "deployedModel": {
                "model": f"{place.model}@1",
                "displayName": "v1",
                "serviceAccount": "models@my-project.iam.gserviceaccount.com",
                "dedicatedResources": {
                    "machineSpec": {"machineType": "n1-standard-4"},
                    "minReplicaCount": 2,
                    "maxReplicaCount": 5,
                    "autoscalingMetricSpecs": [
                        {"metricName": "aiplatform.googleapis.com/prediction/online/cpu/utilization", "target": 60}
                    ],
                },
            },
        }

    def test_an_endpoint_says_whose_it_is_and_the_second_one_is_gone_in_the_end(self, place):
        place.released("1")

        staging, public = place.asked(api.CreateEndpointRequest)
        assert (staging.parent, staging.endpoint_id) == (PARENT, "made-candidate")
        assert (public.endpoint_id, public.endpoint.display_name) == ("made", "made")
        assert dict(public.endpoint.labels) == {"perennial-project": "made"}
        assert sorted(place.double.endpoints) == [place.endpoint]

    def test_the_sample_is_asked_of_the_second_endpoint_first_with_its_values(self, place):
        place.released("1")

        isolated, public = place.asked(api.PredictRequest)
        assert (isolated.endpoint, public.endpoint) == (place.staging, place.endpoint)
        rows = [json_format.MessageToDict(row) for row in api.PredictRequest.pb(isolated).instances]
        assert rows[1] == {"usage": None, "plan": rows[0]["plan"]}

    def test_a_candidate_gets_as_many_replicas_as_the_champion_has_now_and_gives_them_back(self, place):
        place.released("1")
        place.double.endpoints[place.endpoint].deployed_models[0].status.available_replica_count = 3
        place.released("2")

        asked = place.asked(api.MutateDeployedModelRequest)
        counts = [request.deployed_model.dedicated_resources.min_replica_count for request in asked]
        assert counts == [3, 1]
        assert list(asked[0].update_mask.paths) == [
            "dedicated_resources.min_replica_count", "dedicated_resources.max_replica_count",
        ]  # fmt: skip


class TestShares:
    def test_a_canary_grows_by_the_traffic_split_in_one_request_per_step(self, place):
        place.released("1")
        assert place.released("2", CANARY) == "released"

        changes = [request.endpoint for request in place.asked(api.UpdateEndpointRequest)]
        splits = [sorted(change.traffic_split.values()) for change in changes if change.name == place.endpoint]
        assert splits == [[100], [20, 80], [50, 50], [100]]
        assert all(change.etag for change in changes)
        assert at_rest(place, "2")

    def test_a_watched_canary_waits_and_goes_on_by_two_commands(self, place):
        place.released("1")
        watched = Plan(strategy="canary", steps=(PlanStep(share=25, min_requests=10), PlanStep(share=100)))

        assert place.released("2", watched) == "waiting"
        shares = place.release("2").traffic._endpoint.shares()
        assert shares == {"1": 75, "2": 25}
        assert place.champion() == "1"
        assert place.release("2").driver().promote("ada").outcome == "released"
        assert at_rest(place, "2")

    def test_an_approval_is_the_second_step_of_a_promotion(self, place):
        place.released("1")
        plan = Plan(strategy="basic", steps=(PlanStep(share=100),), approvers=("ada",))
        assert place.released("2", plan) == "waiting"
        assert place.release("2").traffic._endpoint.shares() == {"1": 100, "2": 0}
        with pytest.raises(InputError, match="may not approve"):
            place.release("2").driver().approve(Approval(who="eve", at=datetime.now(UTC)))
        assert place.release("2").driver().approve(Approval(who="ada", at=datetime.now(UTC))).outcome == "released"
        assert at_rest(place, "2")

    def test_an_aborted_candidate_leaves_no_trace(self, place):
        place.released("1")
        watched = Plan(strategy="canary", steps=(PlanStep(share=25, min_requests=10), PlanStep(share=100)))
        place.released("2", watched)

        assert place.release("2").driver().abort("it is Friday").outcome == "rolled back"
        assert at_rest(place, "1")
        assert list(place.double.models[place.model]) == ["1"]

    def test_a_former_version_comes_back_without_another_upload(self, place):
        place.released("1")
        place.released("2")

        assert place.released("1") == "released"
        assert len(place.asked(api.UploadModelRequest)) == 2
        assert at_rest(place, "1")


class TestFailures:
    def test_a_candidate_that_answers_wrong_never_reaches_the_endpoint_and_is_removed(self, place):
        place.released("1")
        place.double.scores["2"] = [0.1, 0.2, 0.9]

        with pytest.raises(StepFailed, match=r"answers row 2 of its sample with 0\.9, training computed 0\.3"):
            place.released("2")
        assert at_rest(place, "1")
        assert list(place.double.models[place.model]) == ["1"]

    def test_a_container_that_never_gets_ready_is_undone_with_what_google_said_of_it(self, place):
        place.released("1")
        place.double.failing["DeployModel"] = status_pb2.Status(
            code=9, message="Model server never became ready. Model server logs can be found at https://log.test."
        )

        with pytest.raises(StepFailed, match=r"would not deploy release 2: Model server never became ready.*log\.test"):
            place.released("2")
        place.double.failing.clear()
        assert at_rest(place, "1")

    @pytest.mark.parametrize(
        ("method", "refused", "error", "sentence"),
        [
            (
                "DeployModel",
                Refused(
                    grpc.StatusCode.RESOURCE_EXHAUSTED,
                    "The following quota metrics exceed quota limits: custom_model_serving_cpus",
                    error_info("RATE_LIMIT_EXCEEDED"),
                ),
                StepFailed,
                r"a quota of project my-project in europe-west4 is used up \(.*custom_model_serving_cpus\)",
            ),
            (
                "UploadModel",
                Refused(
                    grpc.StatusCode.PERMISSION_DENIED,
                    "Permission 'aiplatform.models.upload' denied",
                    error_info("IAM_PERMISSION_DENIED"),
                ),
                InputError,
                r"would not upload version 2 .*you lack the permission .*aiplatform\.models\.upload",
            ),
            (
                "DeployModel",
                invalid(
                    "deployed_model.dedicated_resources.machine_spec.machine_type", "n9-standard-2 is not supported"
                ),
                InputError,
                r"would not deploy version 2 .*machine_spec\.machine_type: n9-standard-2 is not supported",
            ),
            (
                "UploadModel",
                Refused(grpc.StatusCode.FAILED_PRECONDITION, "The bucket models is in US, the model in europe-west4."),
                InputError,
                r"would not upload version 2 .*: The bucket models is in US, the model in europe-west4",
            ),
            (
                "CreateEndpoint",
                Refused(grpc.StatusCode.UNAVAILABLE, "Connection reset"),
                StepFailed,
                r"Vertex AI does not answer at localhost",
            ),
        ],
    )
    def test_a_refusal_is_undone_and_says_what_to_change(self, place, method, refused, error, sentence):
        place.released("1")
        place.double.refuse = lambda asked: refused if asked == method else None

        with pytest.raises(error, match=sentence):
            place.released("2")
        place.double.refuse = lambda asked: None
        assert at_rest(place, "1")

    def test_a_deployment_that_never_ends_is_cancelled_and_undone(self, place):
        place.released("1")
        place.double.stuck = {"DeployModel"}

        with pytest.raises(StepFailed, match=r"did not deploy release 2 within 0 s; the operation projects/.* goes on"):
            place.released("2", pace=replace(PACE, start_s=0.2))
        assert at_rest(place, "1")

    def test_what_cannot_be_cancelled_stays_in_the_journal_and_the_next_release_undoes_it(self, place):
        place.released("1")
        place.double.stuck, place.double.cancellable = {"DeployModel"}, False

        with pytest.raises(StepFailed, match=r"could not be rolled back .*is being changed by projects/"):
            place.released("2", pace=HASTY)
        place.double.stuck = set()
        assert place.released("3") == "released"
        assert at_rest(place, "3")

    def test_somebody_elses_endpoint_and_model_are_left_alone(self, place):
        place.double.endpoints[place.endpoint] = api.Endpoint(name=place.endpoint, display_name=NAME, etag="1")
        with pytest.raises(StepFailed, match=r"the endpoint 'made' in .* does not belong to this project"):
            place.released("1")
        place.double.endpoints.clear()
        place.double.models[place.model] = {"1": api.Model(name=place.model, version_aliases=["default"])}
        with pytest.raises(StepFailed, match=r"the model 'made' in .* does not belong to this project"):
            place.released("1")

        assert list(place.double.models[place.model]) == ["1"]

    def test_another_region_and_another_project_are_refused(self, place):
        for part in ("my-project/europe-west9", "other-project/europe-west4"):
            address = place.address().replace("my-project/europe-west4", part)
            place.address = lambda address=address, **_: address
            with pytest.raises(InputError, match="in another project or region"):
                place.released("1")

    def test_a_mirrored_step_is_refused_before_anything_is_uploaded(self, place):
        plan = Plan(strategy="shadow", steps=(PlanStep(share=0, mirrored=True), PlanStep(share=100)))
        place.released("1")
        with pytest.raises(StepFailed, match="can't mirror requests; use a strategy without"):
            place.released("2", plan)

        assert len(place.asked(api.UploadModelRequest)) == 1

    def test_a_split_that_somebody_changed_meanwhile_is_not_overwritten(self, place):
        place.released("1")
        place.double.refuse = lambda asked: (
            Refused(grpc.StatusCode.ABORTED, "The etag does not match.") if asked == "UpdateEndpoint" else None
        )
        traffic = place.release("1").traffic
        with pytest.raises(InputError, match=r"would not split the traffic .*etag does not match"):
            traffic._endpoint.split({})


class TestDouble:
    """What it would not let pass."""

    def test_a_field_that_the_protos_lack_and_a_missing_parent_are_refused(self, place):
        place.released("1")
        client = place.release("1").traffic._models._client
        model = api.Model(display_name="made", artifact_uri="gs://a/b")
        api.Model.pb(model).MergeFromString(b"\xfa\x7f\x01x")
        with pytest.raises(InvalidArgument, match="List of found errors") as refused:
            client.upload_model(parent=PARENT, model=model)
        assert refused.value.details[0].field_violations[0].field == "Model.2047"
        with pytest.raises(PermissionDenied, match="Permission denied on resource"):
            client.upload_model(request=api.UploadModelRequest(model=api.Model(display_name="made")))


class TestContainer:
    def test_the_options_of_the_project_are_kept_and_what_vertex_decides_is_left_out(self):
        args = [
            "--name={{.Name}}", "--model-dir=/mnt/models", "--host=0.0.0.0", "--port=8080", "--grpc-port=8081",
            "--authenticated-by=gateway", "--explore=yes=0.1", "--log-collector=http://collector:8090",
        ]  # fmt: skip
        runtime = {"spec": {"containers": [{"image": IMAGE, "args": args, "env": [{"name": "A", "value": "b"}]}]}}
        service = {"spec": {"predictor": {"model": {"args": ["--version=7", "--signed-by=KEY"]}}}}

        container = Container.of("churn", service, runtime)

        assert container.args == (
            "--name=churn", "--authenticated-by=Vertex AI", "--host=0.0.0.0", "--explore=yes=0.1",
            "--log-collector=http://collector:8090", "--version=7", "--signed-by=KEY",
        )  # fmt: skip
        assert (container.image, dict(container.env)) == (IMAGE, {"A": "b"})

    def test_memory_scales_nothing_at_vertex(self):
        capacity = Capacity.of(ServingSettings(scale_metric="memory", replicas_max=4), "e2-standard-2", None)

        assert (capacity.replicas, capacity.cpu_target) == ((1, 4), None)


class TestAddress:
    def test_an_address_says_where(self):
        address = Address.parse("vertex://my-project/europe-west4/churn?bucket=gs://models/a/b&machine=n1-standard-2")

        assert (address.project, address.region, address.endpoint) == ("my-project", "europe-west4", "churn")
        assert (address.bucket, address.machine, address.service_account) == ("gs://models/a/b", "n1-standard-2", None)

    @pytest.mark.parametrize(
        ("address", "sentence"),
        [
            ("vertex://my-project?bucket=a/b", r"expected 'vertex://PROJECT/REGION\[/ENDPOINT\]"),
            ("vertex://my-project/europe-west4/a/b?bucket=a/b", r"expected 'vertex://PROJECT"),
            ("vertex://my-project/europe-west4/A_b?bucket=a/b", "is named 'A_b'; expected at most 52 lower-case"),
            ("vertex://my-project/europe-west4", "names no folder of a bucket"),
            ("vertex://my-project/europe-west4?bucket=a", "names no folder of a bucket"),
            ("vertex://my-project/europe-west4?bucket=a/b&mashine=x", r"has the keys \['mashine'\]; expected some of"),
        ],
    )
    def test_a_wrong_address_is_refused_with_the_form_that_is_expected(self, address, sentence):
        with pytest.raises(InputError, match=sentence):
            Address.parse(address)


class TestJournal:
    def test_a_second_process_is_refused_while_the_first_renews(self, place):
        pace = replace(PACE, lease_s=0.4)
        first, second = place.release("1", pace).journal, place.release("1", pace).journal
        with first.hold(), pytest.raises(ReleaseUnderWay, match="is under way by"), second.hold():
            pass
        with second.hold():
            assert second.read() is None

    def test_the_journal_of_a_process_that_died_is_taken_over_after_the_lease(self, place):
        dead, heir = place.release("1").journal, place.release("1").journal
        dead._acquire()
        with heir.hold():
            pass
        with pytest.raises(StepFailed, match="was changed by another process meanwhile"):
            dead.replace("dead")

    def test_a_process_that_lost_the_lock_asks_vertex_for_nothing_more(self, place):
        release, heir = place.release("1", replace(PACE, lease_s=0.2)), place.release("1")
        with release.journal.hold():
            current = place.storage.objects["prefix/releases/made.json"]
            place.storage.objects["prefix/releases/made.json"] = current
            place.storage.generations["prefix/releases/made.json"] += 1
            assert PACE.within(lambda: release.journal._lost, 3)
            before = len(place.double.requests)
            with pytest.raises(StepFailed, match=r"lost its lock gs://models/prefix/releases/made\.json"):
                release.traffic.answering()
        assert len(place.double.requests) == before
        assert heir.journal.read() is None

    def test_an_answer_that_got_lost_is_not_taken_for_another_process(self, place):
        place.storage.lose_answers = 1
        journal = place.release("1").journal
        with journal.hold():
            assert journal.read() is None

    def test_a_bucket_that_may_not_be_written_is_named(self, place):
        place.storage.forbidden = True
        with pytest.raises(StepFailed, match=r"did not read gs://models/prefix/releases/made.json \(403"):
            place.released("1")


class TestCounts:
    def counted(self, place: VertexPlace, **codes: dict[str, int]) -> None:
        """Let Cloud Monitoring have answers by version and status, and the latency of the answers."""
        online = "aiplatform.googleapis.com/prediction/online"
        for model in place.double.endpoints[place.endpoint].deployed_models:
            for code, count in codes[model.display_name].items():
                labels = {"deployed_model_id": model.id, "response_code": code}
                points: list[Any] = [{"value": {"int64Value": str(count)}}, {"value": {"int64Value": "1"}}]
                series = {"metric": {"labels": labels}, "points": points}
                place.double.series.append((f"{online}/response_count", series))
            distribution = {
                "count": "3",
                "bucketOptions": {"explicitBuckets": {"bounds": [900, 40_000]}},
                "bucketCounts": ["0", "2", "1"],
            }
            labels = {"deployed_model_id": model.id, "latency_type": "total"}
            series = {"metric": {"labels": labels}, "points": [{"value": {"distributionValue": distribution}}]}
            place.double.series.append((f"{online}/prediction_latencies", series))

    def exposed(self, place: VertexPlace) -> Any:
        place.released("1")
        steps = (PlanStep(share=25, min_requests=10), PlanStep(share=100))
        place.released("2", Plan(strategy="canary", steps=steps))
        release = place.release("2")
        return release, release.driver()

    def test_answers_are_counted_by_status_and_latency(self, place):
        release, _ = self.exposed(place)
        self.counted(place, v1={"200": 90}, v2={"200": 20, "400": 2, "500": 1})
        counts = release.traffic.counts(release.journal.read()).counts

        candidate = counts.versions["2"]
        assert (candidate.answered, candidate.refused, candidate.failed) == (21, 3, 2)
        # 2 within 40 ms are between 20 and 50 ms, the last is beyond every edge.
        assert [n for n in candidate.latencies if n] == [2, 1] and candidate.latencies[8] == 2
        assert counts.shares == {"1": 75, "2": 25}
        assert counts.versions["1"].answered == 91

    def test_a_canary_without_harm_takes_over_and_one_that_fails_is_taken_back(self, place):
        _, driver = self.exposed(place)
        self.counted(place, v1={"200": 90}, v2={"200": 20})
        assert driver.advance(datetime.now(UTC)).outcome == "released"
        assert at_rest(place, "2")

    def test_a_canary_that_fails_is_taken_back_and_marked(self, place):
        _, driver = self.exposed(place)
        self.counted(place, v1={"200": 400}, v2={"200": 40, "500": 60})
        progress = driver.advance(datetime.now(UTC))
        assert (progress.outcome, progress.harmful) == ("rolled back", True)
        assert "than the champion" in progress.reason
        assert at_rest(place, "1")

    def test_where_monitoring_may_not_be_read_the_release_waits(self, place):
        _, driver = self.exposed(place)
        place.double.monitoring_allowed = False
        progress = driver.advance(datetime.now(UTC))
        assert (progress.outcome, progress.reason) == (
            "waiting", "the endpoint's counts can't be read now, so nothing is judged",
        )  # fmt: skip


class TestKills:
    @pytest.mark.parametrize("requests", KILLED_AT)
    def test_whatever_request_was_the_last_the_next_process_finishes_or_undoes_the_release(self, place, requests):
        place.released("1")
        release = place.release("2", replace(PACE, lease_s=0.3))
        connection, left = release.traffic._endpoint._connection, iter(range(requests))

        def die() -> None:
            if next(left, None) is None:
                # Nothing of it reaches the bucket any more, not even an undo or the end of its lock.
                release.journal._lost = True
            release.journal.check()

        connection.guard = die
        with contextlib.suppress(StepFailed):
            release.driver().release(place.models.plans["2"], CANARY)
        committed = place.champion()
        heir = place.release("2", replace(PACE, lease_s=0.3)).driver()
        outcome = heir.recover()

        assert outcome in (None, "finished", "rolled back")
        assert at_rest(place, "1" if committed == "1" else "2")
        assert place.released("3") == "released"
        assert at_rest(place, "3")
