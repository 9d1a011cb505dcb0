"""A bill of materials (CycloneDX 1.6) per image: its lock's packages, the interpreter, the base's Debian packages."""

import json
import uuid
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.shared.errors import InputError, StepFailed
from pipelines.images import builder as images
from pipelines.images.recipes import Recipe, chosen, recipe, reference

if TYPE_CHECKING:
    from cyclonedx.model.component import Component
    from docker import DockerClient

# Property of a Python package: whether the lock or the base image brings it.
LAYER = "perennial:layer"
_SURVEY = Path(__file__).with_name("survey.py")


@images.trouble_said()
def write(image_names: Iterable[str], *, base: str, folder: Path, registry: str = "") -> list[Path]:
    """Write ``<image>.cdx.json`` for each image; the same image gives the same file.

    Args:
        image_names: Names of images, as ``recipes.chosen`` takes them; none means all.
        base: The image that they start from.
        folder: Where the files go; it is made.
        registry: Prefix of the references.

    Raises:
        InputError: If an image is not built.
        StepFailed: If there is no engine, or an image does not hold what its lock says.
    """
    client, written = images.reach(), []
    folder.mkdir(parents=True, exist_ok=True)
    for name in chosen(image_names):
        target = reference(name, base, registry)
        image_details = images.inspected(client, target)
        if not image_details:
            raise InputError(f"the image of {name} is not built; run 'perennial images build {name}' first.")
        path = folder / f"{name.replace('_', '-')}.cdx.json"
        path.write_text(bill(recipe(name), target, image_details, _survey(client, target)), encoding="utf-8")
        written.append(path)
    return written


def bill(made_of: Recipe, target: str, image_details: dict[str, Any], survey: dict[str, Any]) -> str:
    """Return the bill of materials of one image as JSON.

    Args:
        made_of: What it was built from.
        target: Its reference.
        image_details: What the engine knows about it.
        survey: What ``survey.py`` printed in it.

    Raises:
        StepFailed: If it does not hold what its lock says.
    """
    from cyclonedx.model import Property
    from cyclonedx.model.bom import Bom, BomMetaData
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.output.json import JsonV1Dot6

    locked = packages(made_of.root / made_of.lock)
    installed = {_normal(name): (version, licence) for name, (version, licence) in survey["packages"].items()}
    if wrong := sorted(name for name, version in locked.items() if installed.get(name, ("",))[0] != version):
        raise StepFailed(f"{target} lacks {wrong} of its lock; remove that image and build it again.")
    name, _, tag = target.rpartition(":")
    labels = image_details["Config"]["Labels"] or {}
    image = Component(
        name=name,
        version=tag,
        type=ComponentType.CONTAINER,
        bom_ref=target,
        properties=[Property(name=key, value=value) for key, value in sorted(labels.items())],
    )
    parts = [_python_package(name, version, installed[name][1]) for name, version in locked.items()]
    parts += [_python_package(*package, below=True) for package in _flat(survey["below"])]
    parts += [_interpreter(survey["python"])]
    parts += [_debian_package(*package) for package in survey["debian"] or ()]
    created = datetime.fromisoformat(image_details["Created"].partition(".")[0].rstrip("Z") + "+00:00")
    bom = Bom(
        components=parts,
        serial_number=uuid.uuid5(uuid.NAMESPACE_URL, f"{target} {image_details['Id']}"),
        metadata=BomMetaData(component=image, timestamp=created),
    )
    bom.register_dependency(image, parts)
    return str(JsonV1Dot6(bom).output_as_string(indent=2)) + "\n"


def packages(lock: Path) -> dict[str, str]:
    """Return name to version of a hashed lock."""
    from pip_requirements_parser import RequirementsFile

    return {_normal(pin.name): pin.get_pinned_version for pin in RequirementsFile.from_file(str(lock)).requirements}


def _survey(client: "DockerClient", target: str) -> dict[str, Any]:
    printed = images.output(client, target, ["python3", "-c", _SURVEY.read_text(encoding="utf-8")])
    if printed is None:
        raise StepFailed(f"{target} could not be looked into: its python3 does not run; remove it and build it again.")
    survey: dict[str, Any] = json.loads(printed)
    return survey


def _flat(packages: dict[str, list[str]]) -> list[tuple[str, str, str]]:
    return sorted((_normal(name), version, licence) for name, (version, licence) in packages.items())


def _python_package(name: str, version: str, licence: str, below: bool = False) -> "Component":
    from cyclonedx.factory.license import LicenseFactory
    from cyclonedx.model import Property
    from cyclonedx.model.component import Component
    from packageurl import PackageURL

    purl = PackageURL("pypi", name=name, version=version)
    return Component(
        name=name,
        version=version,
        # The base may bring a package that the lock has, too, in the same version.
        bom_ref=f"base:{purl}" if below else str(purl),
        purl=purl,
        licenses=[LicenseFactory().make_from_string(licence)] if licence else [],
        properties=[Property(name=LAYER, value="base" if below else "lock")],
    )


def _debian_package(name: str, version: str, architecture: str) -> "Component":
    from cyclonedx.model.component import Component
    from packageurl import PackageURL

    purl = PackageURL("deb", "debian", name, version, {"arch": architecture})
    return Component(name=name, version=version, bom_ref=str(purl), purl=purl)


def _interpreter(version: str) -> "Component":
    from cyclonedx.model.component import Component, ComponentType
    from packageurl import PackageURL

    purl = PackageURL("generic", name="python", version=version)
    return Component(name="python", version=version, type=ComponentType.PLATFORM, bom_ref=str(purl), purl=purl)


def _normal(name: str) -> str:
    from packaging.utils import canonicalize_name

    return canonicalize_name(name)
