"""``perennial gc``: say what was removed, how much that freed, and why something stays that may go another time."""

import time

import click

from components.shared.errors import InputError
from pipelines.command.options import TargetOptions
from pipelines.targets.local import housekeeping


def gc(options: TargetOptions, *, keep: int, cache_days: float | None, dry_run: bool, wait: bool) -> None:
    """Collect what a project left at a target and, if asked, the user's cache."""
    backend = options.open()
    if backend.is_remote and cache_days is not None:
        raise InputError(
            f"--cache-days is about virtualenvs of this machine, the target {backend.name!r} has none; leave it out, "
            "or call 'perennial gc --cache-days' without --target."
        )
    collected = [backend.collect(keep, dry_run=dry_run, wait=wait)]
    if cache_days is not None:
        collected.append(housekeeping.collect_cache(cache_days, dry_run, now=time.time()))
    for item in (item for part in collected for item in part.removed):
        click.echo(f"{'would remove' if dry_run else 'removed'} {item}")
    for reason in (reason for part in collected for reason in part.kept):
        click.echo(f"kept: {reason}")
    freed = sum(part.bytes for part in collected) / 2**20
    click.echo(f"{'would free' if dry_run else 'freed'} {freed:.1f} MiB")
