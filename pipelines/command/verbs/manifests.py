"""``perennial manifests``: what infra/ puts on a cluster, with images and the project's features filled in."""

from collections.abc import Iterable
from pathlib import Path

import click

from pipelines.command.options import TargetOptions
from pipelines.command.verbs import observing
from pipelines.images import builder, environments
from pipelines.images import overlays as manifests


def print_manifests(overlay: str, options: TargetOptions, *, features: bool) -> None:
    """Print the manifests of an overlay.

    Args:
        overlay: A shipped one's name, or a folder.
        options: The cluster that names registry and base of the images; the project's targets are looked up first.
        features: Whether the feature server gets the project's features.

    Raises:
        InputError: If overlay, project or target do not exist, or the target is not a cluster.
    """
    backend = options.open()
    backend.check_server("name a target of kind kfp")
    images = backend.images
    references = {name: builder.pinned(name, images.base, images.registry) for name in _services()}
    declared = backend.state.root / "feature_repo" / "features.py" if features else None
    click.echo(manifests.render(overlay, references, declared), nl=False)


def rewrite_golden() -> Iterable[Path]:
    """Rewrite the golden files; return those that changed."""
    for path, text in (manifests.golden() | observing.golden()).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            yield path


def _services() -> list[str]:
    """Name the images that infra/ deploys itself; releases deploy the model server, and pipelines the steps."""
    return [name for name in builder.names() if name not in (*environments.steps(), "serving")]
