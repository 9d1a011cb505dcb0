"""Whatever stands between the command and a server is one sentence that says what to do."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from components.shared.errors import InputError, StepFailed
from pipelines.images.environments import ROOT
from pipelines.targets import reading
from pipelines.targets.kfp.connection import Server
from pipelines.targets.model import Kfp
from tests.pipelines.kfp.double import Endpoint

HEALTHY = {"commit_sha": "", "tag_name": "2.17.0", "multi_user": False, "pipeline_store": "database"}


class Ingress(Endpoint):
    """What stands before a server: it answers each request alike, and keeps what it was sent."""

    def __init__(self, status: int = 200, body: Any = None, type_: str = "application/json", **headers: str) -> None:
        self.sent: list[dict[str, str]] = []
        self.answer = {"status": status, "type": type_, "body": HEALTHY if body is None else body, "headers": headers}
        super().__init__()

    def reply(
        self, method: str, path: str, query: dict[str, Any], body: bytes, headers: dict[str, Any]
    ) -> dict[str, Any]:
        self.sent.append({name.lower(): value for name, value in headers.items()})
        return self.answer


@pytest.fixture
def ingress() -> Iterator[Any]:
    made: list[Ingress] = []

    def make(*args: Any, **kwargs: Any) -> Ingress:
        made.append(Ingress(*args, **kwargs))
        return made[-1]

    yield make
    for each in made:
        each.shutdown()


def target(host: str, *overrides: str) -> Kfp:
    read = reading.read("kfp", ROOT, [f"host={host}", *overrides])
    assert isinstance(read, Kfp)
    return read


def test_an_address_where_nobody_answers(tmp_path):
    with pytest.raises(
        StepFailed, match=r"no server answers at http://127.0.0.1:9 \(.*refused\); .*port-forward"
    ) as it:
        Server(target("http://127.0.0.1:9"))
    assert "\n" not in str(it.value)


def test_a_name_that_nobody_knows():
    with pytest.raises(StepFailed, match=r"no server answers at https://kfp.invalid"):
        Server(target("kfp.invalid"))


@pytest.mark.parametrize(
    ("status", "body", "type_"),
    [(404, "<html>not here</html>", "text/html"), (200, "<html>welcome</html>", "text/html"), (200, {}, None)],
)
def test_something_else_that_answers(ingress, status, body, type_):
    other = ingress(status, body, type_ or "application/json")

    with pytest.raises(InputError, match=r"is not the API of Kubeflow Pipelines 2; expected its address"):
        Server(target(other.url))


@pytest.mark.parametrize(
    ("status", "auth", "sentence"),
    [
        (302, "{kind: none}", r"rejected a request without a login \(auth.kind: none\) \(missing"),
        (302, "{kind: cookie, env: OURS}", r"rejected the cookie .*expired\); log in again.*OURS"),
        (401, "{kind: token, env: OURS}", r"rejected the token .*expired\); log in again.*OURS"),
        (
            403,
            "{kind: token, env: OURS}",
            r"would not report its health in namespace kubeflow: you lack the permission",
        ),
    ],
)
def test_a_proof_that_is_not_taken(ingress, monkeypatch, status, auth, sentence):
    monkeypatch.setenv("OURS", "old")
    proxy = ingress(status, "no", "text/plain", Location="https://dex.example.com/auth")

    with pytest.raises(InputError, match=sentence):
        Server(target(proxy.url, f"auth={auth}"))


def test_a_server_that_breaks_is_no_bad_input(ingress):
    with pytest.raises(StepFailed, match=r"would not report its health: upstream request timeout \(HTTP 500\)"):
        Server(target(ingress(500, "upstream request timeout", "text/plain").url))


@pytest.mark.parametrize(
    ("auth", "header", "value"),
    [
        ("{kind: token, env: OURS}", "authorization", "Bearer secret"),
        ("{kind: cookie, env: OURS}", "cookie", "secret"),
        ("{kind: service_account, token_path: TOKEN}", "authorization", "Bearer secret"),
    ],
)
def test_each_kind_of_proof_is_sent_with_every_request(ingress, monkeypatch, tmp_path, auth, header, value):
    monkeypatch.setenv("OURS", "secret")
    (tmp_path / "token").write_text("secret\n")
    proxy = ingress()

    server = Server(target(proxy.url, f"auth={auth.replace('TOKEN', str(tmp_path / 'token'))}"))
    with server.asked("list its runs") as client:
        client.list_runs(namespace="team")
    server.get("/apis/v1beta1/runs/1")

    assert len(proxy.sent) >= 3
    assert {sent.get(header) for sent in proxy.sent} == {value}


@pytest.mark.parametrize(
    ("auth", "sentence"),
    [
        ("{kind: token, env: OURS}", "the variable OURS is not set; expected the token for"),
        ("{kind: cookie}", "the variable PERENNIAL_KFP_COOKIE is not set; expected the cookie for"),
        ("{kind: service_account, token_path: /nowhere}", "there is no service account's token at /nowhere"),
    ],
)
def test_a_proof_that_is_missing(ingress, auth, sentence):
    with pytest.raises(InputError, match=sentence):
        Server(target(ingress().url, f"auth={auth}"))


@pytest.mark.parametrize(
    ("version", "taken"), [("2.17.0", True), ("2.18.1", True), ("unknown", True), ("2.5.0", False), ("3.0.0", False)]
)
def test_a_server_of_another_version(ingress, version, taken):
    host = ingress(body=HEALTHY | {"tag_name": version}).url

    if taken:
        assert Server(target(host)).version == version
        return
    with pytest.raises(
        InputError, match=rf"is Kubeflow Pipelines {version}, this command speaks 2.17.0; expected 2.17"
    ):
        Server(target(host))
    assert Server(target(host, "any_version=true")).version == version


def test_nothing_is_left_of_the_secret_in_a_sentence(ingress, monkeypatch):
    monkeypatch.setenv("OURS", "very-secret")

    with pytest.raises(InputError) as caught:
        Server(target(ingress(401, "no", "text/plain").url, "auth={kind: token, env: OURS}"))
    assert "very-secret" not in json.dumps(str(caught.value))
