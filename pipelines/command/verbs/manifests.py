"""``perennial manifests``: what infra/ puts on a cluster, with images and the project's features filled in."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import click

from components.shared.errors import InputError
from pipelines.images import builder as images
from pipelines.images import overlays as manifests
from pipelines.targets import reading
from pipelines.targets.model import Kfp


def print_manifests(overlay: str, *, project: Path, features: bool, target: str, overrides: Sequence[str] = ()) -> None:
    """Print the manifests of an overlay.

    Args:
        overlay: A shipped one's name, or a folder.
        project: The project's folder or file: its targets are looked up first.
        features: Whether the feature server gets the project's features.
        target: The cluster that names registry and base of the images.
        overrides: Single keys of the target.

    Raises:
        InputError: If overlay, project or target are not there, or the target is no cluster.
    """
    root = project if project.is_dir() else project.parent
    place = reading.read(target, root, overrides)
    if not isinstance(place, Kfp):
        raise InputError(f"the target {target!r} is of kind {place.kind}, expected a cluster; name one of kind kfp.")
    references = {name: images.pinned(name, place.images.base, place.images.registry) for name in _services()}
    declared = root / "feature_repo" / "features.py" if features else None
    click.echo(manifests.render(overlay, references, declared), nl=False)


def rewrite_golden() -> Iterable[Path]:
    """Rewrite the golden files; return those that changed."""
    for path, text in manifests.golden().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            yield path


def _services() -> list[str]:
    return [name for name in images.names() if (manifests.INFRA / name).is_dir()]
