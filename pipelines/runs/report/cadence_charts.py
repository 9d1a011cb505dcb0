"""Pictures of how models age, and of what policies of retraining cost."""

from typing import TYPE_CHECKING

from markupsafe import Markup

from components.shared.documents.cadence import Cadence
from pipelines.runs.report.drawing import BAD, CHAMPION, MODEL, RULE, draw, whisker

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def aging(cadence: Cadence) -> Markup:
    """Draw what a model loses more than a fresh one, by its age."""
    points = [(age * cadence.block_days, more) for age, more in enumerate(cadence.decay) if more is not None]

    def paint(axes: "Axes") -> None:
        axes.plot(*zip(*points, strict=True), "o-", color=MODEL, markersize=3.5, linewidth=1.4)
        axes.axhline(0, color=RULE, linewidth=1)
        axes.set_xlabel("days since the training")
        axes.set_ylabel(f"{cadence.unit} per 1,000 rows")

    return draw("What a model loses more than one trained just before", 6.6, 3.0, paint)


def savings(cadence: Cadence) -> Markup:
    """Draw what each policy saves over never retraining, with its interval, and what nothing could beat."""
    policies = cadence.policies[1:]

    def paint(axes: "Axes") -> None:
        for height, policy in enumerate(reversed(policies)):
            colour = CHAMPION if policy.name == cadence.recommended else MODEL
            whisker(axes, height, policy.saved, policy.saved_low, policy.saved_high, colour, "o")
        axes.axvline(0, color=RULE, linewidth=1, label="never")
        axes.axvline(cadence.hindsight.saved, color=BAD, linewidth=1, linestyle="--", label="with hindsight")
        axes.set_yticks(range(len(policies)), [policy.name for policy in reversed(policies)])
        axes.set_xlabel(f"{cadence.unit} saved per 30 days")
        axes.legend(fontsize=8.5)

    return draw("What retraining saves", 6.6, 0.9 + 0.36 * len(policies), paint)
