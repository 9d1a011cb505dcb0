"""Begin boosting at the champion's trees, with its numbers of categories."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from components.shared.documents.preprocessing import TreesPreprocessing
from components.shared.learning.trees import Forest, TreeColumns
from components.training.families.replayed import ReplayedRows
from components.training.families.start import Start, origin_continued, origin_from_scratch

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TreesStart:
    """What boosting begins with; without text, from scratch."""

    columns: TreeColumns | None = None
    text: str | None = None
    champion: str = ""
    refusal: str = ""
    rows: ReplayedRows | None = None
    """Training rows of further rounds; None takes all."""

    @property
    def rounds(self) -> str:
        """Return what the rounds of this fit are called."""
        return "rounds" if self.text is None else "further rounds"

    def origin(self) -> str:
        """Say what was continued, or why nothing was; empty if nobody asked."""
        if self.text is None:
            return origin_from_scratch(self.refusal) if self.refusal else ""
        return origin_continued(f"the {_rounds(self.text):,} rounds of {self.champion}", self.rows)


def load(start: Start | None, monotone: Sequence[int]) -> TreesStart:
    """Load the champion's trees, unless a feature has a direction that they need not follow.

    Args:
        start: The champion's models; None begins from scratch.
        monotone: Direction that each numeric feature has now, 0 for none; empty if none has one.
    """
    if start is None:
        return TreesStart()
    learned = start.members.get("trees")
    if not isinstance(learned, TreesPreprocessing):
        return _anew(start.refusal("trees"))
    before = learned.monotone or (0,) * len(monotone)
    if monotone and any(now not in (0, earlier) for now, earlier in zip(monotone, before, strict=True)):
        return _anew(f"the trees of {start.champion} do not keep to the features' directions (monotone)")
    codes = tuple(
        dict(zip(("", *words), numbers, strict=True))
        for words, numbers in zip(learned.vocabulary, learned.codes, strict=True)
    )
    text = (start.package / learned.weights).read_text(encoding="utf-8")
    _log.info("the trees continue from %s", start.champion)
    return TreesStart(TreeColumns(codes, learned.unknown), text, start.champion, rows=start.rows)


def _anew(refusal: str) -> TreesStart:
    _log.info("the trees begin from scratch, because %s", refusal)
    return TreesStart(refusal=refusal)


def _rounds(text: str) -> int:
    return Forest(text, units=1, best_loss=0.0, best_round=0).rounds()
