"""A signature says whose a model is: the server loads nothing that a trusted key has not signed as it is."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from components.shared.errors import InputError, StepFailed
from components.shared.package import signing
from components.shared.package.integrity import SIGNATURE, SIGNING_KEY
from serving.release import ServedRelease
from tests import documents
from tests.serving import tiny

CURVES: list[type[ec.EllipticCurve]] = [ec.SECP256R1, ec.SECP384R1, ec.SECP521R1]
ALTERED = r"altered after it was signed"


def pem(key: ec.EllipticCurvePrivateKey) -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()


def private_pem(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> str:
    form, secret = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, form, secret).decode()


KEY, OTHER = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())


def signed(folder: Path, key: ec.EllipticCurvePrivateKey = KEY) -> Path:
    package = tiny.package(folder)
    (package / SIGNATURE).write_text(signing.sign(package, key, tiny.NAME))
    return package


@pytest.mark.parametrize("curve", CURVES)
def test_a_package_that_a_trusted_key_signed_is_loaded(tmp_path, curve):
    key = ec.generate_private_key(curve())
    package = signed(tmp_path / "model", key)

    assert ServedRelease(package, tiny.NAME, "1", signed_by=[pem(OTHER), pem(key)]).task == "binary"
    assert signing.verify(package, [OTHER.public_key(), key.public_key()]) == signing.identifier(key.public_key())
    assert ServedRelease(package, tiny.NAME, "1").task == "binary"


def flip(package: Path) -> None:
    content = bytearray((package / "model.onnx").read_bytes())
    content[-1] ^= 1
    (package / "model.onnx").write_bytes(content)


def flip_and_seal(package: Path) -> None:
    """Alter a file together with its line in the manifest."""
    flip(package)
    (package / "manifest.json").unlink()
    signature = (package / SIGNATURE).read_text()
    (package / SIGNATURE).unlink()
    documents.seal(package)
    (package / SIGNATURE).write_text(signature)


def edit(package: Path, change: Callable[[dict[str, Any]], None]) -> None:
    bundle = json.loads((package / SIGNATURE).read_text())
    change(bundle)
    (package / SIGNATURE).write_text(json.dumps(bundle))


def other_payload(bundle: dict[str, Any]) -> None:
    payload = bundle["dsseEnvelope"]["payload"]
    bundle["dsseEnvelope"]["payload"] = ("A" if payload[0] != "A" else "B") + payload[1:]


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "a changed byte": (flip, ALTERED),
    "a changed byte and a manifest that agrees": (flip_and_seal, ALTERED),
    "a replaced manifest": (lambda package: (package / "manifest.json").write_text("{}"), ALTERED),
    "an added file": (lambda package: (package / "more.py").write_text(""), "differ in the files.*more.py"),
    "a missing file": (lambda package: (package / "sample.json").unlink(), "differ in the files.*sample.json"),
    "a renamed file": (
        lambda package: (package / "sample.json").rename(package / "simple.json"),
        "differ in the files.*sample.json.*simple.json",
    ),
    "no signature": (lambda package: (package / SIGNATURE).unlink(), "is not signed"),
    "an empty signature": (lambda package: (package / SIGNATURE).write_text(""), "not a signature of a model"),
    "a deep signature": (lambda package: (package / SIGNATURE).write_text("[" * 100_000), "not a signature of a model"),
    "a list for an object": (lambda package: (package / SIGNATURE).write_text("[1]"), "not a signature of a model"),
    "a huge signature": (lambda package: (package / SIGNATURE).write_text(" " * 5_000_000), "not a signature"),
    "another payload": (lambda package: edit(package, other_payload), "not a signature by one of the 1 keys"),
    "another kind": (lambda package: edit(package, lambda bundle: bundle.update(mediaType="x")), "is of the kinds"),
    "no signer": (
        lambda package: edit(package, lambda bundle: bundle["dsseEnvelope"].update(signatures=[])),
        "not a signature of a model",
    ),
    "another key": (
        lambda package: (package / SIGNATURE).write_text(signing.sign(package, OTHER, tiny.NAME)),
        "not a signature by one of the 1 keys",
    ),
}


@pytest.mark.parametrize(("fault", "sentence"), FAULTS.values(), ids=FAULTS)
def test_what_is_not_what_was_signed_is_refused(tmp_path, fault, sentence):
    package = signed(tmp_path / "model")
    fault(package)

    with pytest.raises(StepFailed, match=sentence) as refused:
        ServedRelease(package, tiny.NAME, "1", signed_by=[pem(KEY)])
    assert "\n" not in str(refused.value)


def test_a_true_signature_of_something_else_is_refused(tmp_path, monkeypatch):
    package = tiny.package(tmp_path / "model")
    monkeypatch.setattr(signing, "_PREDICATE", "https://example.org/build/v1")
    (package / SIGNATURE).write_text(signing.sign(package, KEY, tiny.NAME))
    monkeypatch.undo()

    with pytest.raises(StepFailed, match=r"signs \('https://in-toto.io.*example.org"):
        signing.verify(package, [KEY.public_key()])


def test_a_signature_covers_folders_within_the_package(tmp_path):
    package = tmp_path / "model"
    (package / "a" / "b").mkdir(parents=True)
    (package / "a" / "b" / "c").write_text("1")
    (package / SIGNATURE).write_text(signing.sign(package, KEY, "m"))
    signing.verify(package, [KEY.public_key()])
    (package / "a" / "b" / "c").write_text("2")

    with pytest.raises(StepFailed, match=r"\['a/b/c'\].*altered"):
        signing.verify(package, [KEY.public_key()])


def environment(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> dict[str, str]:
    return {SIGNING_KEY: private_pem(key)}


def test_the_signing_key_is_pem_or_a_path_and_belongs_to_a_key_of_the_project(tmp_path):
    (tmp_path / "key.pem").write_text(private_pem(KEY))

    for value in (private_pem(KEY), str(tmp_path / "key.pem")):
        key = signing.private_key({SIGNING_KEY: value}, [pem(OTHER), pem(KEY)])
        assert pem(key) == pem(KEY)
    for given, sentence in (
        ({}, "is not set"),
        ({SIGNING_KEY: " "}, "is not set"),
        ({SIGNING_KEY: "-----BEGIN"}, "no private key that can be read"),
        ({SIGNING_KEY: str(tmp_path / "absent.pem")}, "no private key that can be read"),
        (environment(OTHER), "belongs to none of the 1 public keys"),
        (environment(ed25519.Ed25519PrivateKey.generate()), "belongs to none of the 1 public keys"),
    ):
        with pytest.raises(InputError, match=sentence) as refused:
            signing.private_key(given, [pem(KEY)])
        assert "PRIVATE" not in str(refused.value)


def test_a_public_key_of_another_kind_is_refused():
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    other = ed25519.Ed25519PrivateKey.generate().public_key().public_bytes(serialization.Encoding.PEM, form).decode()
    small = ec.generate_private_key(ec.SECP224R1())

    for text in (other, pem(small)):
        with pytest.raises(InputError, match="expected one of the curves"):
            signing.public_key(text)
    with pytest.raises(InputError, match="not a public key in PEM"):
        signing.public_key("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")


def official(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = os.environ.get("PERENNIAL_MODEL_SIGNING", "")
    if not shutil.which(program):
        pytest.skip("PERENNIAL_MODEL_SIGNING names no program of the OpenSSF")
    return subprocess.run([program, *arguments], capture_output=True, text=True)


@pytest.mark.parametrize("curve", CURVES)
def test_the_official_tool_verifies_ours_and_we_verify_its(tmp_path, curve):
    key = ec.generate_private_key(curve())
    (tmp_path / "private.pem").write_text(private_pem(key))
    (tmp_path / "public.pem").write_text(pem(key))
    ours, its = signed(tmp_path / "ours", key), tiny.package(tmp_path / "its")
    public, private = str(tmp_path / "public.pem"), str(tmp_path / "private.pem")

    def verified() -> int:
        signature = str(ours / SIGNATURE)
        return official("verify", "key", str(ours), "--signature", signature, "--public_key", public).returncode

    assert verified() == 0
    done = official("sign", "key", str(its), "--signature", str(its / SIGNATURE), "--private_key", private)
    assert done.returncode == 0, done.stderr
    assert signing.verify(its, [key.public_key()])
    for package in (ours, its):
        flip(package)
    assert verified() != 0
    with pytest.raises(StepFailed, match=ALTERED):
        signing.verify(its, [key.public_key()])
