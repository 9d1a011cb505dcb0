"""Where a training begins that continues: the champion's models and what they learned, or why that cannot be."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from components.shared.documents.model_facts import ModelFacts
from components.shared.documents.package_manifest import PackageManifest
from components.shared.documents.preprocessing import PackagePreprocessing, Preprocessing
from components.shared.documents.start import StartRecord
from components.shared.inputs import row_keys, rows
from components.shared.learning import prepare
from components.shared.project import Project
from components.training.families.replayed import ReplayedRows, chosen


@dataclass(frozen=True)
class Start:
    """The champion whose models are continued, and the rows that they are continued on."""

    champion: str
    """What it is called in a sentence, such as ``version 3``."""
    package: Path
    members: Mapping[str, Preprocessing]
    """Family to what the champion's model of that family learned; empty if none can be continued."""
    label: tuple[float, float] = (0.0, 1.0)
    """Mean and scale of the champion's label."""
    reason: str | None = None
    """Why none can be continued."""
    seen: pa.Table | None = None
    """Entity and event time of the rows that the champion has learned from."""
    rows: ReplayedRows | None = None
    """The training rows to continue on; None continues on all."""

    def applied_to(self, data: prepare.RawData) -> prepare.RawData:
        """Encode the labels of a regression as the champion's, whose answers are in that unit."""
        if data.target.task != "regression" or not self.members:
            return data
        return prepare.standardised_as(data, *self.label)

    def refusal(self, family: str) -> str:
        """Return why a family has no member to continue."""
        if self.reason is not None:
            return self.reason
        return f"{self.champion} holds {' and '.join(sorted(self.members))} and no {family}"


def read(project: Project, folder: Path, data: prepare.RawData, splits: Path, seed: int) -> Start:
    """Read where a training begins, and check that the champion answers the same question from the same inputs.

    Args:
        project: The use case as it is now.
        folder: Output ``start`` of the step champion.
        data: The rows to train on, whose classes must be the champion's.
        splits: The folder that the data was read from.
        seed: Draws the old rows of an incremental training.
    """
    record, package = StartRecord.read(folder), folder / StartRecord.PACKAGE
    if record.version is None:
        return Start("the champion", package, {}, reason="no version has been released yet")
    champion = f"version {record.version}"
    if not PackagePreprocessing.at(package).is_file():
        return Start(champion, package, {}, reason=f"{champion} is of an older kind that keeps no preprocessing")
    facts = ModelFacts.read(package)
    differences = list(_differences(project, facts, data))
    if differences:
        return Start(champion, package, {}, reason=f"{champion} {' and '.join(differences)}")
    learned = PackagePreprocessing.read(package)
    seen = pq.read_table(package / PackageManifest.SEEN)
    replayed = None
    if project.retraining.method == "incremental":
        columns = [project.entity, project.event_time]
        own = row_keys.keys(rows.read(splits / "train.parquet", columns), *columns)
        is_old = row_keys.is_in(own, row_keys.keys(seen, facts.entity, facts.event_time))
        replayed = chosen(is_old, project.retraining.replay_share, seed)
    return Start(
        champion, package, learned.members, (learned.label_mean, learned.label_scale), seen=seen, rows=replayed
    )


def origin_continued(what: str, on: ReplayedRows | None) -> str:
    """Say what was continued, such as ``the 40 rounds of version 3``, and on which rows if not on all."""
    return f"continued from {what}" if on is None else f"continued from {what} {on}"


def origin_from_scratch(reason: str) -> str:
    """Say how a family was fitted that could not be continued."""
    return f"fitted from scratch, because {reason}"


def _differences(project: Project, facts: ModelFacts, data: prepare.RawData) -> Iterator[str]:
    """Yield what the champion asks or takes that the project does not, each as a clause."""
    if (facts.task, facts.label) != (project.task, project.label.column):
        yield f"answers {facts.task} {facts.label!r} instead of {project.task} {project.label.column!r}"
    elif facts.classes != data.target.classes:
        yield f"has the classes {list(facts.classes or ())} instead of {list(data.target.classes or ())}"
    before, now = (*facts.numeric, *facts.categorical), (*rows.numeric_names(project), *rows.categorical_names(project))
    if (facts.numeric, facts.categorical) == (
        tuple(rows.numeric_names(project)),
        tuple(rows.categorical_names(project)),
    ):
        return
    if changed := sorted(set(before) ^ set(now)):
        yield f"has other features than the project, which differ in {changed}"
    else:
        yield "has the same features in another order or of other types"
