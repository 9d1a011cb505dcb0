"""Pictures of the search for hyperparameters and of the final training."""

import math
from typing import TYPE_CHECKING

from markupsafe import Markup

from components.shared.documents.study import StudySummary
from components.shared.documents.training_history import TrainingHistory
from components.shared.documents.trials import Trials
from pipelines.runs.report.drawing import BAD, CHAMPION, MODEL, NOTHING, PLAIN, RULE, draw

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_CURVES = 60
_FAMILIES = {"network": (PLAIN, "o"), "trees": (CHAMPION, "^")}


def trials(document: Trials, study: StudySummary) -> Markup:
    """Draw the value of each finished trial, and the best so far."""
    finished = [(i, t) for i, t in enumerate(document.trials) if t.state == "complete" and t.value is not None]
    better = min if study.direction == "minimize" else max

    def paint(axes: "Axes") -> None:
        best: list[float] = []
        for _, trial in finished:
            best.append(better([*best[-1:], trial.value or 0.0]))
        order = [number for number, _ in finished]
        axes.step(order, best, where="post", color=MODEL, linewidth=1.6, label="best so far")
        for family, (colour, marker) in _FAMILIES.items():
            own = [(number, trial.value) for number, trial in finished if trial.family == family]
            if own:
                axes.plot(*zip(*own, strict=True), marker, color=colour, linestyle="", label=f"{family}, trial")
        axes.xaxis.get_major_locator().set_params(integer=True)  # type: ignore[call-arg]
        axes.legend(fontsize=8.5)
        axes.set(xlabel="trial", ylabel=study.metric)

    return draw("Trials", 3.7, 2.9, paint) if len(finished) > 1 else NOTHING


def intermediate(document: Trials) -> Markup:
    """Draw how each trial went, epoch by epoch (trees: every ten rounds); pruned ones stop early."""
    curves = [trial for trial in document.trials if len(trial.intermediate) > 1][:_MOST_CURVES]

    def paint(axes: "Axes") -> None:
        for trial in curves:
            pruned = trial.state == "pruned"
            losses = [math.nan if loss is None else loss for loss in trial.intermediate]
            epochs = range(1, len(losses) + 1)
            colour, width = (RULE, 0.9) if pruned else (_FAMILIES[trial.family][0], 1.2)
            axes.plot(epochs, losses, color=colour, linewidth=width, alpha=0.75)
            if pruned:
                axes.plot(epochs[-1], losses[-1], "x", color=BAD, markersize=5)
        for family in dict.fromkeys(trial.family for trial in curves):
            axes.plot([], [], color=_FAMILIES[family][0], label=f"{family}, complete")
        if any(trial.state == "pruned" for trial in curves):
            axes.plot([], [], "x-", color=RULE, markeredgecolor=BAD, label="pruned")
        axes.legend(fontsize=8.5)
        axes.xaxis.get_major_locator().set_params(integer=True)  # type: ignore[call-arg]
        axes.set(xlabel="step: an epoch, or ten rounds of trees", ylabel="on validation rows")

    return draw("Trials, step by step", 3.7, 2.9, paint) if curves else NOTHING


def history(training: TrainingHistory) -> Markup:
    """Draw the losses of the final training."""
    epochs = training.history
    curves = {
        "train loss": ([epoch.train_loss for epoch in epochs], RULE, "--"),
        "validation loss": ([epoch.validation_loss for epoch in epochs], MODEL, "-"),
    }

    def paint(axes: "Axes") -> None:
        for name, (losses, colour, style) in curves.items():
            defined = [loss for loss in losses if loss is not None]
            if len(defined) == len(epochs):
                axes.plot([epoch.epoch for epoch in epochs], defined, style, color=colour, label=name)
        axes.axvline(training.best_epoch, color=BAD, linewidth=1, label="kept")
        axes.legend(fontsize=8.5)
        axes.xaxis.get_major_locator().set_params(integer=True)  # type: ignore[call-arg]
        axes.set(xlabel="epoch", ylabel="loss")

    return draw("Training", 3.7, 2.9, paint) if len(epochs) > 1 else NOTHING
