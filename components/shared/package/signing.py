"""Sign a model package, and verify whose it is, in the OpenSSF model signing format (version 1.0).

The file ``model.sig`` beside the model is a Sigstore bundle: a DSSE envelope around an in-toto statement that names
every file of the package and its SHA-256. It is signed by ECDSA with a key, and needs neither a transparency log nor a
network. The tool ``model_signing`` of the OpenSSF verifies what is signed here, and the other way round; see
https://github.com/ossf/model-signing-spec and https://github.com/secure-systems-lab/dsse (the encoding that is signed).
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from components.shared.errors import InputError, StepFailed
from components.shared.files import sha256
from components.shared.package.integrity import SIGNATURE, SIGNING_KEY

_BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
_PAYLOAD = "application/vnd.in-toto+json"
_STATEMENT = "https://in-toto.io/Statement/v1"
_PREDICATE = "https://model_signing/signature/v1.0"
_HASHES: Mapping[str, type[hashes.HashAlgorithm]] = {
    "secp256r1": hashes.SHA256,
    "secp384r1": hashes.SHA384,
    "secp521r1": hashes.SHA512,
}
_LARGEST_BYTES = 4 * 2**20


def public_key(text: str) -> ec.EllipticCurvePublicKey:
    """Read a public key in PEM.

    Raises:
        InputError: If it is none, or not of the curves P-256, P-384 or P-521.
    """
    try:
        key = serialization.load_pem_public_key(text.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InputError(
            "a key of 'signed_by' is not a public key in PEM; expected '-----BEGIN PUBLIC KEY-----' and what follows."
        ) from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in _HASHES:
        raise InputError("a key of 'signed_by' is of another kind; expected one of the curves P-256, P-384 or P-521.")
    return key


def private_key(environment: Mapping[str, str], trusted: Sequence[str]) -> ec.EllipticCurvePrivateKey:
    """Return the key to sign with.

    Args:
        environment: Holds it in ``PERENNIAL_SIGNING_KEY``.
        trusted: The public keys in PEM, of which it must belong to one.

    Raises:
        InputError: If there is none, it cannot be read, or whoever trusts these keys would not trust its signature.
    """
    text = environment.get(SIGNING_KEY, "").strip()
    if not text:
        raise InputError(
            f"the project's releases are signed ('signed_by'), but the environment variable {SIGNING_KEY} is not set; "
            "put the private key into it, as PEM or as the path of a PEM file."
        )
    try:
        content = text.encode() if text.startswith("-----") else Path(text).expanduser().read_bytes()
        key = serialization.load_pem_private_key(content, password=None)
    except (OSError, TypeError, ValueError, UnsupportedAlgorithm) as error:
        raise InputError(
            f"the environment variable {SIGNING_KEY} has no private key that can be read ({type(error).__name__}); "
            "expected PEM without a password, or the path of such a file."
        ) from error
    trusted_ids = {identifier(public_key(one)) for one in trusted}
    if not isinstance(key, ec.EllipticCurvePrivateKey) or identifier(key.public_key()) not in trusted_ids:
        raise InputError(
            f"the private key in {SIGNING_KEY} belongs to none of the {len(trusted_ids)} public keys of 'signed_by'; "
            "add its public key there, or sign with the key of one of them."
        )
    return key


def identifier(key: ec.EllipticCurvePublicKey) -> str:
    """Return the SHA-256 of a public key's PEM, by which a signature names it."""
    pem = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(pem).hexdigest()


def sign(package: Path, key: ec.EllipticCurvePrivateKey, name: str) -> str:
    """Return the content of ``model.sig`` for a package.

    Args:
        package: Its folder; everything in it is signed.
        key: Signs.
        name: What the package is called, such as ``churn``.
    """
    digests = _digests(package)
    root = hashlib.sha256(b"".join(bytes.fromhex(digest) for digest in digests.values())).hexdigest()
    statement = {
        "_type": _STATEMENT,
        "subject": [{"name": name, "digest": {"sha256": root}}],
        "predicateType": _PREDICATE,
        "predicate": {
            "resources": [{"algorithm": "sha256", "name": file, "digest": digest} for file, digest in digests.items()],
            "serialization": {
                "method": "files",
                "hash_type": "sha256",
                "allow_symlinks": False,
                "ignore_paths": [SIGNATURE],
            },
        },
    }
    payload = json.dumps(statement).encode()
    public = key.public_key()
    signature = key.sign(_encoded(payload), ec.ECDSA(_HASHES[public.curve.name]()))
    bundle = {
        "mediaType": _BUNDLE,
        "verificationMaterial": {"publicKey": {"hint": identifier(public)}, "tlogEntries": []},
        "dsseEnvelope": {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": _PAYLOAD,
            "signatures": [{"sig": base64.b64encode(signature).decode(), "keyid": ""}],
        },
    }
    return json.dumps(bundle)


def verify(package: Path, trusted: Sequence[ec.EllipticCurvePublicKey]) -> str:
    """Refuse a package that none of the trusted keys has signed as it is now, before anything in it is loaded.

    Args:
        package: Its folder, with ``model.sig``.
        trusted: The public keys.

    Returns:
        The identifier of the key that signed.

    Raises:
        StepFailed: If the package is not signed, the signature is not of a trusted key, or a file was altered, added,
            removed or renamed since.
    """
    file = package / SIGNATURE
    if not file.is_file():
        raise StepFailed(f"the model package {package} is not signed; expected {SIGNATURE} by a key that is trusted.")
    payload, signer = _signed(file, trusted)
    signed = _resources(payload, file)
    present = _digests(package)
    if differing := sorted(signed.keys() ^ present.keys()):
        raise StepFailed(f"the model package {package} and its signature differ in the files {differing}.")
    if altered := sorted(name for name in signed if signed[name] != present[name]):
        raise StepFailed(f"the files {altered} of the model package {package} were altered after it was signed.")
    return signer


def _signed(file: Path, trusted: Sequence[ec.EllipticCurvePublicKey]) -> tuple[bytes, str]:
    """Return what a trusted key has signed, and the identifier of the key; nothing else in the bundle counts."""
    try:
        if file.stat().st_size > _LARGEST_BYTES:
            raise ValueError("too large")
        bundle = json.loads(file.read_bytes())
        envelope = bundle["dsseEnvelope"]
        kinds = bundle["mediaType"], envelope["payloadType"]
        payload = base64.b64decode(envelope["payload"], validate=True)
        [signature] = [base64.b64decode(one["sig"], validate=True) for one in envelope["signatures"]]
    except (ValueError, KeyError, TypeError, RecursionError, binascii.Error) as error:
        raise StepFailed(f"{file} is not a signature of a model; sign the package again.") from error
    if kinds != (_BUNDLE, _PAYLOAD):
        raise StepFailed(f"{file} is of the kinds {kinds}, expected {(_BUNDLE, _PAYLOAD)}; sign the package again.")
    for key in trusted:
        try:
            key.verify(signature, _encoded(payload), ec.ECDSA(_HASHES[key.curve.name]()))
        except InvalidSignature:
            continue
        return payload, identifier(key)
    raise StepFailed(
        f"{file} is not a signature by one of the {len(trusted)} keys that are trusted; release a version that one of "
        "them has signed, or add its public key to 'signed_by' of the project file."
    )


def _resources(payload: bytes, file: Path) -> dict[str, str]:
    """Return the files that a statement names, with their SHA-256."""
    try:
        statement: dict[str, Any] = json.loads(payload)
        predicate = statement["predicate"]
        method = predicate["serialization"]["method"], predicate["serialization"]["hash_type"]
        kinds = statement["_type"], statement["predicateType"], *method
        named = {resource["name"]: str(resource["digest"]) for resource in predicate["resources"]}
    except (ValueError, KeyError, TypeError) as error:
        raise StepFailed(f"{file} signs something else than a model; sign the package again.") from error
    if kinds != (_STATEMENT, _PREDICATE, "files", "sha256"):
        raise StepFailed(
            f"{file} signs {kinds}, expected the SHA-256 of every file of a model; sign the package again."
        )
    return named


def _digests(package: Path) -> dict[str, str]:
    """Return the SHA-256 of every file of a package except its signature, in the order of their names."""
    names = sorted(path.relative_to(package).as_posix() for path in package.rglob("*") if not path.is_dir())
    return {name: sha256(package / name) for name in names if name != SIGNATURE}


def _encoded(payload: bytes) -> bytes:
    """Return what DSSE signs: the payload with its type, and the lengths of both."""
    return b" ".join([b"DSSEv1", b"%d" % len(_PAYLOAD), _PAYLOAD.encode(), b"%d" % len(payload), payload])
