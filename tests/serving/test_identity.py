"""Tokens of an OpenID Connect provider name clients only if it signed them, for this server, and for now."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub

from components.shared import polling
from components.shared.errors import InputError, PerennialError, StepFailed
from pipelines.targets.local import endpoint as local
from serving.identity import Identities, Keys, Provider, keys_of_file, keys_of_provider, parse
from tests.serving import tiny
from tests.serving.test_access import ask
from tests.serving.test_rollout import PYTHON, ROOT

ISSUER, AUDIENCE = "https://login.example.com", "churn"
RSA, OTHER = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))
EC = ec.generate_private_key(ec.SECP256R1())


def token(key: Any = RSA, algorithm: str = "RS256", key_id: str | None = "first", **claims: Any) -> str:
    now = int(time.time())
    content = {"iss": ISSUER, "aud": AUDIENCE, "sub": "shop", "exp": now + 600} | claims
    headers = {} if key_id is None else {"kid": key_id}
    return jwt.encode({name: value for name, value in content.items() if value is not None}, key, algorithm, headers)


def key_set(**keys: Any) -> str:
    """Return the public keys as a provider publishes them, with a key for encryption and a shared one beside them."""
    found = []
    for key_id, key in keys.items():
        algorithm = jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else jwt.algorithms.ECAlgorithm
        found.append(algorithm.to_jwk(key.public_key(), as_dict=True) | {"kid": key_id, "use": "sig"})
    others = [
        found[0] | {"kid": "encryption", "use": "enc", "alg": "RSA-OAEP"},
        found[0] | {"kid": ["a list"]},
        {"kty": "oct", "k": "c2VjcmV0", "kid": "shared"},
    ]
    return json.dumps({"keys": [*found, *others]})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "keys.json"
    path.write_text(key_set(first=RSA, second=EC))
    return path


@pytest.fixture
def identities(file: Path) -> Identities:
    return Identities(Provider(lambda: keys_of_file(file)), ISSUER, AUDIENCE)


def test_a_client_is_known_by_its_subject_whatever_key_signed(identities: Identities):
    shop = identities.client(f"Bearer {token()}")

    assert shop is not None
    assert identities.client(f"bearer {token(EC, 'ES256', 'second', aud=['other', AUDIENCE])}") == shop
    assert identities.client(f"Bearer {token(sub='another')}") not in (None, shop)


PUBLIC = RSA.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
WRONG = {
    "expired": token(exp=int(time.time()) - 60),
    "not valid yet": token(nbf=int(time.time()) + 600),
    "for another service": token(aud="billing"),
    "for nobody": token(aud=None),
    "of another provider": token(iss="https://login.example.org"),
    "without an end": token(exp=None),
    "without a subject": token(sub=None),
    "signed by another key": token(OTHER),
    "of a key that nobody knows": token(key_id="third"),
    "of the key for encryption": token(key_id="encryption"),
    "with a shared secret": token(b"secret" * 8, "HS256", "shared"),
    "unsigned": token(None, "none"),
    "changed": token()[:-8] + "AAAAAAAA",
    "of two keys without an id": token(key_id=None),
    "none": "x.y.z",
    "empty": "",
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_no_other_token_names_anybody(identities: Identities, wrong: str):
    assert identities.client(f"Bearer {wrong}") is None
    assert identities.client(wrong) is None


def test_the_public_key_is_no_shared_secret(identities: Identities):
    # jwt itself refuses to sign with a public key, an attacker does not.
    header, content, _ = token().split(".")
    forged = jwt.PyJWS().encode(jwt.utils.base64url_decode(content), b"x" * 32, "HS256", {"kid": "first"})
    secret = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    signed = ".".join(forged.split(".")[:2])
    forged = f"{signed}.{jwt.utils.base64url_encode(secret.sign(signed.encode(), PUBLIC)).decode()}"

    assert header and identities.client(f"Bearer {forged}") is None


def test_a_token_counts_until_it_expires_however_often_it_was_checked(file: Path):
    now = time.time()
    clock = [now]
    identities = Identities(Provider(lambda: keys_of_file(file)), ISSUER, AUDIENCE, now_s=lambda: clock[0])
    short = f"Bearer {token(exp=int(now) - 10)}"

    assert identities.client(short) is not None, "clocks may differ by half a minute"
    clock[0] = now + 600
    file.write_text(key_set(second=EC))
    assert identities.client(f"Bearer {token(exp=int(now) + 300)}") is not None


def test_a_new_key_counts_soon_after_a_token_names_it_and_a_broken_set_changes_nothing(file: Path):
    looks: list[None] = []

    def read() -> Keys:
        looks.append(None)
        return keys_of_file(file)

    identities = Identities(Provider(read, pause_s=0.05), ISSUER, AUDIENCE)
    file.write_text(key_set(third=OTHER))
    new = f"Bearer {token(OTHER, key_id='third')}"

    assert identities.client(new) is None
    assert polling.within(lambda: identities.client(new) is not None, 5, 0.05)
    file.write_text("{}")
    before = len(looks)
    assert identities.client(f"Bearer {token(key_id='fourth')}") is None
    assert polling.within(lambda: len(looks) > before, 5, 0.05)
    assert identities.client(f"Bearer {token(OTHER, key_id='third', sub='later')}") is not None


def test_a_key_that_is_removed_ends_its_tokens_also_those_that_were_checked_before(file: Path):
    identities = Identities(Provider(lambda: keys_of_file(file), refresh_s=0.05, pause_s=0.0), ISSUER, AUDIENCE)
    leaked, other = f"Bearer {token()}", f"Bearer {token(EC, 'ES256', 'second')}"
    assert identities.client(leaked) and identities.client(other)

    file.write_text(key_set(second=EC))

    assert polling.within(lambda: identities.client(leaked) is None, 5, 0.05)
    assert identities.client(other)


def test_whatever_goes_wrong_while_keys_are_read_new_ones_count_later():
    answers: list[Any] = [RuntimeError("a bug"), InputError("no key"), parse(key_set(third=OTHER).encode(), "test")]

    def read() -> Keys:
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    answers.insert(0, parse(key_set(first=RSA).encode(), "test"))
    identities = Identities(Provider(read, refresh_s=0.01, pause_s=0.0), ISSUER, AUDIENCE)

    assert polling.within(lambda: identities.client(f"Bearer {token(OTHER, key_id='third')}") is not None, 5, 0.05)


def test_an_answer_that_is_no_http_and_a_redirect_to_an_open_address_are_one_sentence():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        open_address = b"HTTP/1.1 302 Found\r\nLocation: http://login.example.com/\r\nContent-Length: 0\r\n\r\n"

        def answer() -> None:
            for content in (b"nonsense\r\n\r\n", open_address):
                with listener.accept()[0] as connection:
                    connection.recv(65_536)
                    connection.sendall(content)

        threading.Thread(target=answer, daemon=True).start()
        with pytest.raises(StepFailed, match="does not answer"):
            keys_of_provider(url)
        with pytest.raises(InputError, match=r"http://login\.example\.com/ is not https"):
            keys_of_provider(url)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "is no JSON Web Key Set"),
        ("[]", "is no JSON Web Key Set"),
        ('{"keys": 1}', "is no JSON Web Key Set"),
        ('{"keys": [{"kty": "RSA"}]}', "has no key for signatures"),
        ('{"keys": []}', "has no key for signatures; expected one of RS256"),
        ('{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}', "has no key for signatures"),
    ],
)
def test_a_file_without_a_key_is_one_sentence(file: Path, content: str, sentence: str):
    file.write_text(content)
    with pytest.raises(InputError, match=sentence):
        keys_of_file(file)
    with pytest.raises(InputError, match="cannot be read"):
        keys_of_file(file.with_name("absent"))


@pytest.fixture
def provider() -> Iterator[tuple[str, dict[str, str]]]:
    """Run a provider on loopback: its address, and its pages, which may be changed."""
    pages: dict[str, str] = {}

    class Pages(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = pages.get(self.path, "").encode()
            self.send_response(200 if content else 404)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *values: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        pages["/.well-known/openid-configuration"] = json.dumps({"issuer": url, "jwks_uri": f"{url}/keys"})
        pages["/keys"] = key_set(first=RSA)
        yield url, pages
        server.shutdown()


def test_keys_are_fetched_from_where_the_provider_says(provider: tuple[str, dict[str, str]]):
    url, _ = provider
    identities = Identities(Provider(lambda: keys_of_provider(url)), url, AUDIENCE)

    assert identities.client(f"Bearer {token(iss=url)}") is not None


@pytest.mark.parametrize(
    ("change", "kind", "sentence"),
    [
        ({"/keys": ""}, StepFailed, "/keys does not answer .*404"),
        ({"/.well-known/openid-configuration": "<html>"}, InputError, "is not a discovery document"),
        (
            {"/.well-known/openid-configuration": '{"issuer": "https://x", "jwks_uri": "https://x/keys"}'},
            InputError,
            "names the issuer 'https://x', expected 'http://127",
        ),
    ],
)
def test_a_provider_that_is_not_as_expected_is_one_sentence(
    provider: tuple[str, dict[str, str]], change: dict[str, str], kind: type[PerennialError], sentence: str
):
    url, pages = provider
    pages.update(change)

    with pytest.raises(kind, match=sentence):
        keys_of_provider(url)
    with pytest.raises(InputError, match="is not https"):
        keys_of_provider("http://login.example.com")


def test_a_server_admits_identities_over_every_protocol(tmp_path: Path, file: Path):
    body = json.dumps({"instances": [tiny.SAMPLE[0]]}).encode()
    options = [f"--oidc-issuer={ISSUER}", f"--oidc-audience={AUDIENCE}", f"--oidc-keys={file}"]
    with local.start(tiny.released(tmp_path), python=PYTHON, source=ROOT, options=options) as running:
        predict = f"/v1/models/{tiny.NAME}:predict"
        assert ask(running.server.rest_url, predict, token(), body)[0] == 200
        assert ask(running.server.rest_url, predict, token(aud="billing"), body)[0] == 401
        assert ask(running.server.rest_url, predict, None, body)[0] == 401
        with grpc.insecure_channel(running.server.grpc_address or "") as channel:
            stub = GRPCInferenceServiceStub(channel)
            asked = pb.ModelMetadataRequest(name=tiny.NAME)
            assert stub.ModelMetadata(asked, metadata=[("authorization", f"Bearer {token()}")], timeout=10).name
            with pytest.raises(grpc.RpcError) as refused:
                stub.ModelMetadata(asked, metadata=[("authorization", f"Bearer {token(OTHER)}")], timeout=10)
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize("options", [["--oidc-issuer=https://x"], ["--oidc-audience=churn"]])
def test_an_issuer_without_an_audience_is_refused(tmp_path: Path, options: list[str]):
    with pytest.raises(InputError, match="an identity provider needs --oidc-issuer and --oidc-audience"):
        local.start(tiny.released(tmp_path), python=PYTHON, source=ROOT, options=options)
