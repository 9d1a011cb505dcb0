"""What the command does about releases on a cluster: look, decide as the account that the API server knows, recover."""

import os
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from components.shared.errors import InputError
from components.shared.release.journal import Approval
from components.shared.release.plan import BASIC
from pipelines.targets.kfp.endpoint import ProjectEndpoint
from tests.components.deployment.conftest import kubeconfig, models, no_other_kserve, place  # noqa: F401 - fixtures
from tests.components.deployment.kserve_place import NAME, Place

pytestmark = pytest.mark.skipif("KUBECONFIG" in os.environ, reason="tests/components/deployment has it on a real one")
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def endpoint_of(place: Place) -> ProjectEndpoint:  # noqa: F811 - a fixture
    project: Any = SimpleNamespace(name=NAME, serving=SimpleNamespace(start_s=10))
    return ProjectEndpoint(place.endpoint, project, lambda: place.models.client, None)


def test_an_account_of_the_api_server_approves_and_a_release_that_waits_is_shown(place):  # noqa: F811 - a fixture
    endpoint = endpoint_of(place)
    place.release("1")
    assert endpoint.under_way() is None
    place.release("2", plan=BASIC.model_copy(update={"approvers": (endpoint.account(),)}))

    journal = endpoint.under_way()
    assert journal is not None and (journal.version, journal.former, journal.state.waiting) == ("2", "1", True)
    endpoint.recover()
    assert endpoint.under_way() == journal, "what waits is left alone"

    assert endpoint.driver().approve(Approval(who=endpoint.account(), at=NOW)).outcome == "released"
    assert place.at_rest("2") and endpoint.under_way() is None


def test_an_address_elsewhere_is_refused():
    with pytest.raises(InputError, match="'vertex://a/b', which this command does not reach; expected kserve://"):
        ProjectEndpoint("vertex://a/b", SimpleNamespace(), SimpleNamespace, None)
