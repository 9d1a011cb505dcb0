"""A new image of the model server reaches the pods of a model that has not changed, and a broken one does not stay."""

import copy
import os
from pathlib import Path

import pytest
import yaml

from components.shared import polling
from components.shared.errors import StepFailed
from components.shared.release.kserve.release import read_objects
from tests.components.deployment.kserve_double import SERVING, Behaviour
from tests.components.deployment.kserve_place import PACE, Place, release_from
from tests.components.deployment.test_kserve_canary import CRASHED

BOTH = pytest.mark.parametrize(
    "place", [Behaviour(), Behaviour(routes_canaries=False)], indirect=True, ids=["canary", "two services"]
)
pytestmark = pytest.mark.skipif(
    "KUBECONFIG" in os.environ, reason="the pods' servers listen on this machine, where a real one asks no pod"
)
NEW = "perennial-new"


def release_again(place: Place, folder: Path) -> str:
    """Release version 1 as a run does after the server's image has changed."""
    service, runtime = read_objects(place.models.folder / "releases" / "1")
    runtime["metadata"]["name"] = service["spec"]["predictor"]["model"]["runtime"] = NEW
    runtime["spec"]["containers"][0]["image"] = "serving:new"
    for name, manifest in (("inferenceservice", service), ("servingruntime", runtime)):
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(manifest))
    return release_from(folder, place.models.plans["1"], place.models.client, place.endpoint, 10, PACE)


def runtime_of(place: Place) -> str:
    [service] = place.api.all(SERVING, "inferenceservices").values()
    return str(service["spec"]["predictor"]["model"]["runtime"])


def pods_of(place: Place) -> list[str]:
    return [pod["metadata"]["uid"] for pod in place.api.all("api/v1", "pods").values()]


def has_rolled(place: Place) -> bool:
    """Return whether the double has ended a rollout: a pod that it brings up meanwhile is gone again."""
    return all(not pod["metadata"]["name"].endswith("-next") for pod in place.api.all("api/v1", "pods").values())


@BOTH
def test_the_pods_are_replaced_once_and_no_request_is_lost(place, tmp_path):
    place.release("1")
    before, load = pods_of(place), place.load()

    assert release_again(place, tmp_path) == "released"

    assert polling.within(lambda: has_rolled(place), 10, 0.1)
    after = pods_of(place)
    assert runtime_of(place) == NEW and len(after) == len(before) == 1 and after != before
    assert release_again(place, tmp_path) == "unchanged" and pods_of(place) == after
    load.end()
    assert place.at_rest("1") and (load.lost, set(load.versions)) == ([], {"1"})


@BOTH
def test_an_image_that_crashes_is_taken_back_and_the_former_pods_go_on(place, tmp_path):
    place.release("1")
    former, before, load = runtime_of(place), pods_of(place), place.load()
    given_up = copy.deepcopy(CRASHED)
    given_up["containerStatuses"][0]["restartCount"] = 3
    place.behaviour.crashing = {NEW: given_up}

    with pytest.raises(StepFailed, match="release 1 does not start: its container 'kserve-container' ends with"):
        release_again(place, tmp_path)

    assert runtime_of(place) == former
    assert polling.within(lambda: pods_of(place) == before, 10, 0.1)
    load.end()
    assert place.at_rest("1") and load.lost == []


@BOTH
def test_an_image_that_answers_wrong_is_taken_back(place, tmp_path):
    place.release("1")
    former = runtime_of(place)
    place.gateway.scores["1"] = [0.1, 0.2, 0.4]

    with pytest.raises(StepFailed, match=r"answers row 2 of its sample with 0\.4, training computed 0\.3"):
        release_again(place, tmp_path)

    assert runtime_of(place) == former
