"""``perennial images``: list, build, push and lock the images, write their build contexts, and say what is in them."""

import dataclasses
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.table import Table

from components.shared.errors import StepFailed
from pipelines.command import terminal
from pipelines.command.options import TargetOptions
from pipelines.images import builder as images
from pipelines.images import recipes, registries, sbom
from pipelines.targets.model import Images


def source(options: TargetOptions, *, base: str | None = None, registry: str | None = None) -> Images:
    """Return base and registry: a flag goes before the target file.

    Raises:
        InputError: If the target has no images.
    """
    overrides = {key: value for key, value in (("base", base), ("registry", registry)) if value is not None}
    return options.open().images.model_copy(update=overrides)


def show(names: Sequence[str], source: Images, as_json: bool) -> None:
    """Print a table of the images, or a JSON list for a script; without an engine sizes are left open."""
    console, why = terminal.console(), None
    try:
        client = images.reach()
    except StepFailed as reason:
        client, why = None, reason
    built_images = images.listing(names, base=source.base, registry=source.registry, client=client)
    if as_json:
        print(json.dumps([dataclasses.asdict(image) for image in built_images], indent=2))
        return
    console.print(_table(built_images))
    if why:
        console.print(f"what is built is not known: {why}")


def build(names: Sequence[str], source: Images) -> None:
    """Build what is missing; end with sizes and times."""
    console = terminal.console()
    built = images.build(names, base=source.base, registry=source.registry, announce=_announcer())
    console.print(_table(built, times=True))


def context(name: str) -> None:
    """Write the build context of one image to standard output."""
    [name] = recipes.chosen([name])
    sys.stdout.buffer.write(recipes.recipe(name).context())


def push(names: Sequence[str], source: Images) -> None:
    """Push what the registry lacks; print the digests that it answered with."""
    for reference, digest in registries.push(
        names, base=source.base, registry=source.registry, announce=_announcer()
    ).items():
        print(f"{reference}  {digest}")


def lock(names: Sequence[str], source: Images) -> None:
    """Write the registry's digests into infra/images.lock."""
    for reference, digest in registries.lock(names, base=source.base, registry=source.registry).items():
        print(f"{reference}  {digest}")


def bill(names: Sequence[str], source: Images, out: Path) -> None:
    """Write a bill of materials per image."""
    for path in sbom.write(names, base=source.base, registry=source.registry, folder=out):
        print(path)


def _announcer() -> Callable[[str], None]:
    console = terminal.console()
    return lambda sentence: console.print(sentence, highlight=False)


def _table(built_images: Sequence[images.Image], times: bool = False) -> Table:
    last = "seconds" if times else "digest"
    table = Table("image", "reference", box=None)
    for heading in ("MiB", "above base", "ceiling"):
        table.add_column(heading, justify="right")
    table.add_column(last, justify="right" if times else "left")
    for image in built_images:
        seconds = "unchanged" if image.seconds is None else f"{image.seconds:.1f}"
        table.add_row(
            image.name,
            image.reference,
            "-" if image.size_mib is None else str(image.size_mib),
            "-" if image.above_base_mib is None else str(image.above_base_mib),
            str(image.ceiling_mib),
            seconds if times else (image.digest or "-"),
        )
    return table
