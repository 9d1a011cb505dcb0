"""``perennial gc``: say what was removed and how much it freed."""

import time

import click

from components.shared import registry
from pipelines import runs
from pipelines.command.options import TargetOptions
from pipelines.targets import state
from pipelines.targets.local import housekeeping


def gc(options: TargetOptions, *, keep: int, cache_days: float | None, dry_run: bool, wait: bool) -> None:
    """Collect a project's state and, if asked, the user's cache."""
    backend = options.open()
    backend.check_machine()
    name, folders = backend.project.name, backend.state
    with state.exclusive(folders, "gc", wait=wait):
        runs.settle(folders.runs)
        versions = [v.version for v in registry.versions(registry.open(folders.registry_uri), name)]
        removed = [housekeeping.collect(folders, map(str, versions), keep, dry_run)]
    if cache_days is not None:
        removed.append(housekeeping.collect_cache(cache_days, dry_run, now=time.time()))
    for item in (item for part in removed for item in part.items):
        click.echo(f"{'would remove' if dry_run else 'removed'} {item}")
    freed = sum(part.bytes for part in removed) / 2**20
    click.echo(f"{'would free' if dry_run else 'freed'} {freed:.1f} MiB")
