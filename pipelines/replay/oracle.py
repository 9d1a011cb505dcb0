"""Somebody who knows on which day the world changed, but sees labels as late as everybody."""

import shutil
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.replay import playing, projects
from pipelines.replay.playing import Player
from pipelines.replay.treatment import Treatment
from pipelines.replay.world import World

_LABELED_DAYS, _AGAIN_DAYS, _ROWS = 28, 56, 1000
_CERTAIN: dict[str, Any] = {
    "value_positive": False,
    "min_class_rows": 5,
    "champion_margin": None,
    "probability_margin": None,
    "decision_margin": None,
}
"""Rules of the gate that whoever knows that the world has changed does not need."""


def acted_on(
    folder: Path,
    world: World,
    rows: pa.Table,
    spans: Sequence[tuple[datetime, datetime]],
    changes: datetime,
    treatment: Treatment,
) -> dict[datetime, np.ndarray]:
    """Play the months with the oracle; return the end of each week with the rows that its model acts on.

    The model is trained on labels from after the change: once there are four weeks of them and the gate lets the
    model pass, and again every eight weeks.

    Args:
        folder: That of the replay, with the project ``ours`` and its first release.
        world: The business.
        rows: Everything that will be asked.
        spans: Start and end of each week.
        changes: The day of the change, in UTC without a zone.
        treatment: What acting on customers does to their labels.
    """
    shutil.copytree(folder / "ours", folder / "oracle")
    split = {"since": changes.replace(tzinfo=UTC).isoformat(), "since_rows": _ROWS}
    backend = projects.changed(folder / "oracle", {"split": split, "gate": _CERTAIN})
    due = changes + timedelta(days=backend.project.label.delay_days + _LABELED_DAYS)
    chosen: dict[datetime, np.ndarray] = {}
    player = Player(backend, world, rows, treatment)
    with playing.serving(backend):
        for start, end in spans:
            chosen[end] = player.ask(player.between(start, end), logged=False)[0]
            if end >= due:
                player.publish(end)
                if player.train() is not None:
                    due = end + timedelta(days=_AGAIN_DAYS)
    return chosen
