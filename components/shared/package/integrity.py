"""The model package as a folder that can prove what it holds: every file has its SHA-256 in ``manifest.json``."""

from pathlib import Path

from components.shared.documents.package_manifest import PackageManifest
from components.shared.errors import StepFailed
from components.shared.files import sha256

MANIFEST = PackageManifest.FILE
SIGNATURE = "model.sig"
"""The package's signature, if it has one; it comes after the manifest, which therefore does not list it."""
SIGNING_KEY = "PERENNIAL_SIGNING_KEY"
"""Environment variable with the private key that signs packages: PEM, or the path of a PEM file."""


def verify(folder: Path, manifest_sha256: str | None = None) -> None:
    """Refuse a package that differs from its manifest, before anything in it is loaded.

    Args:
        folder: The package.
        manifest_sha256: The SHA-256 of the manifest itself as it was released; None skips that one check.

    Raises:
        StepFailed: If the manifest or a file is absent, altered, or not listed.
    """
    manifest = folder / MANIFEST
    if not manifest.is_file():
        raise StepFailed(f"The model package {folder} has no {MANIFEST}; register the model again.")
    if manifest_sha256 is not None and sha256(manifest) != manifest_sha256:
        raise StepFailed(f"{manifest} is not the manifest that was released (its SHA-256 differs); register it again.")
    listed = PackageManifest.read(manifest).files
    present = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - {
        MANIFEST,
        SIGNATURE,
    }
    if differing := sorted(present ^ listed.keys()):
        raise StepFailed(f"The model package {folder} and its manifest differ in {differing}; register it again.")
    if altered := sorted(name for name, digest in listed.items() if sha256(folder / name) != digest):
        raise StepFailed(f"The model package {folder} holds altered files {altered}; register the model again.")
