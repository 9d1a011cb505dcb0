"""What releases left in a namespace is removed while no release is under way, and nothing that one needs."""

import json
import os
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from components.shared.release.kserve.cluster import Cluster
from components.shared.release.kserve.lease import LeaseJournalStore
from components.shared.release.kserve.leftovers import NamespaceCollected
from components.shared.release.kserve.objects import LABELS, PROJECT
from components.shared.release.plan import BASIC
from tests.components.deployment.kserve_double import SERVING, Behaviour
from tests.components.deployment.kserve_place import NAME, PACE, Place

RUNTIMES = "apis/serving.kserve.io/v1alpha1"
LEASES = "apis/coordination.k8s.io/v1"
LATER = timedelta(days=2)
BOTH = pytest.mark.parametrize(
    "place", [Behaviour(), Behaviour(routes_canaries=False)], indirect=True, ids=["canary", "two services"]
)
pytestmark = pytest.mark.skipif(
    "KUBECONFIG" in os.environ, reason="the pods' servers listen on this machine, where a real one asks no pod"
)


def collect(place: Place, *, dry_run: bool = False, after: timedelta = LATER) -> NamespaceCollected:
    return place.command().leftovers().collect(datetime.now(UTC) + after, dry_run=dry_run)


def names(place: Place, group: str, plural: str) -> list[str]:
    return sorted(place.api.all(group, plural))


def old_runtime(place: Place, name: str = "perennial-old") -> str:
    """Leave a runtime that no model names."""
    [current] = place.api.all(RUNTIMES, "servingruntimes").values()
    body = {key: current[key] for key in ("apiVersion", "kind", "spec")}
    place.api.make(RUNTIMES, "servingruntimes", body | {"metadata": {"name": name, "labels": LABELS}})
    return name


def lease(place: Place, project: str, holder: str = "", journal: Any = None, hours: float = 48) -> str:
    """Leave a Lease that was renewed so many hours ago."""
    name = f"perennial-{project}"
    annotations = {} if journal is None else {"perennial/release": json.dumps(journal)}
    metadata = {"name": name, "labels": LABELS, "annotations": annotations}
    body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata}
    renewed = (datetime.now(UTC) - timedelta(hours=hours)).isoformat()
    place.api.make(LEASES, "leases", body | {"spec": {"holderIdentity": holder, "renewTime": renewed}})
    return name


@BOTH
def test_what_answers_stays_and_a_runtime_that_no_model_names_goes(place):
    place.release("1")
    place.release("2")
    before = place.objects(), names(place, RUNTIMES, "servingruntimes"), names(place, LEASES, "leases")
    old_runtime(place)
    load = place.load()

    planned = collect(place, dry_run=True)
    assert names(place, RUNTIMES, "servingruntimes") != before[1]
    done = collect(place)

    load.end()
    assert planned == done == NamespaceCollected(("ServingRuntime perennial-old",), ())
    assert (place.objects(), names(place, RUNTIMES, "servingruntimes"), names(place, LEASES, "leases")) == before
    assert place.at_rest("2") and load.lost == []
    assert collect(place) == NamespaceCollected((), ())


@BOTH
def test_a_release_that_waits_keeps_its_runtime_and_its_models(place):
    place.release("1")
    place.release("2", plan=BASIC.model_copy(update={"approvers": ("someone",)}))
    runtimes, services = names(place, RUNTIMES, "servingruntimes"), names(place, SERVING, "inferenceservices")

    assert collect(place) == NamespaceCollected((), ())

    assert names(place, RUNTIMES, "servingruntimes") == runtimes
    assert names(place, SERVING, "inferenceservices") == services


def test_a_runtime_that_only_the_journal_of_another_project_s_release_names_stays(place):
    place.release("1")
    name = old_runtime(place)
    lease(place, "theirs", journal={"cluster": {"runtime": {"kind": "ServingRuntime", "metadata": {"name": name}}}})

    assert collect(place) == NamespaceCollected((), ())
    assert name in names(place, RUNTIMES, "servingruntimes")


def test_while_another_project_releases_models_and_runtimes_stay(place):
    place.release("1")
    name = old_runtime(place)
    theirs = LeaseJournalStore(Cluster(place.api.namespace), "theirs", "another process", PACE)

    with theirs.hold():
        done = collect(place)

    assert done.removed == () and "a release in the namespace" in done.kept[0]
    assert name in names(place, RUNTIMES, "servingruntimes")
    assert collect(place, after=timedelta(0)).removed == (f"ServingRuntime {name}",)


def test_a_project_whose_first_release_begins_meanwhile_gets_its_runtime_back(place, monkeypatch):
    place.release("1")
    name = old_runtime(place)
    spec = place.api.get(RUNTIMES, "servingruntimes", name)["spec"]
    real = Cluster.delete

    def delete(cluster: Cluster, kind: str, target: str, **options: Any) -> None:
        real(cluster, kind, target, **options)
        lease(place, "new", holder="its first release")

    monkeypatch.setattr(Cluster, "delete", delete)

    assert collect(place).removed == ()
    assert place.api.get(RUNTIMES, "servingruntimes", name)["spec"] == spec


@pytest.mark.parametrize("place", [Behaviour(routes_canaries=False)], indirect=True)
def test_an_old_model_that_no_route_leads_to_goes_and_another_project_s_stays(place):
    place.release("1")
    [service] = place.api.all(SERVING, "inferenceservices").values()
    for name, project in ((f"{NAME}-v0", NAME), (f"{NAME}-v9", "other"), ("by-hand", NAME)):
        metadata = {"name": name, "labels": {**LABELS, PROJECT: project}}
        body = {key: service[key] for key in ("apiVersion", "kind", "spec")}
        place.api.make(SERVING, "inferenceservices", body | {"metadata": metadata})

    assert collect(place).removed == (f"InferenceService {NAME}-v0",)
    assert names(place, SERVING, "inferenceservices") == ["by-hand", f"{NAME}-v1", f"{NAME}-v9"]


@pytest.mark.parametrize("place", [Behaviour(routes_canaries=False)], indirect=True)
def test_without_a_route_every_model_stays(place):
    place.release("1")
    place.api.remove("apis/gateway.networking.k8s.io/v1", "httproutes", NAME)

    assert collect(place).removed == ()


def test_leases_of_projects_without_a_model_go_when_nobody_has_renewed_them_for_a_day(place):
    place.release("1")
    lease(place, "of-a-test")
    lease(place, "of-today", hours=23)
    lease(place, "waiting", journal={"phase": "expose"})

    planned = collect(place, dry_run=True, after=timedelta(0))
    assert collect(place, after=timedelta(0)) == planned
    assert planned.removed == ("Lease perennial-of-a-test",)
    assert names(place, LEASES, "leases") == [f"perennial-{NAME}", "perennial-of-today", "perennial-waiting"]


def test_a_lease_that_somebody_took_since_it_was_read_stays(place, monkeypatch):
    place.release("1")
    name, real = lease(place, "of-a-test"), Cluster.delete

    def delete(cluster: Cluster, kind: str, target: str, **options: Any) -> None:
        place.api.patch(LEASES, "leases", name, {"spec": {"holderIdentity": "a release"}})
        real(cluster, kind, target, **options)

    monkeypatch.setattr(Cluster, "delete", delete)

    assert collect(place).removed == ()
    assert name in names(place, LEASES, "leases")
