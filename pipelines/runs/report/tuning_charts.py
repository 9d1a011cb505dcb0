"""Pictures of the search for hyperparameters and of the final training."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from pipelines.runs.report.drawing import BAD, MODEL, NOTHING, PLAIN, RULE, draw, numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_CURVES = 60


def trials(documents: Sequence[Mapping[str, Any]], study: Mapping[str, Any]) -> Markup:
    """Draw the value of each finished trial, and the best so far."""
    done = [trial for trial in documents if numbers(trial.get("value")) and trial.get("state") == "complete"]
    minimise = study.get("direction") == "minimize"

    def paint(axes: "Axes") -> None:
        best: list[float] = []
        for trial in done:
            best.append((min if minimise else max)([*best[-1:], trial["value"]]))
        axes.step([t["number"] for t in done], best, where="post", color=MODEL, linewidth=1.6, label="best so far")
        axes.plot([t["number"] for t in done], [t["value"] for t in done], "o", color=PLAIN, label="trial")
        axes.xaxis.get_major_locator().set_params(integer=True)  # type: ignore[call-arg]
        axes.legend(fontsize=8.5)
        axes.set(xlabel="trial", ylabel=str(study.get("metric", "value")))

    return draw("Trials", 3.7, 2.9, paint) if len(done) > 1 else NOTHING


def intermediate(documents: Sequence[Mapping[str, Any]]) -> Markup:
    """Draw how each trial went, epoch by epoch; pruned ones stop early."""
    curves = [trial for trial in documents if len(trial.get("intermediate") or []) > 1][:_MOST_CURVES]

    def paint(axes: "Axes") -> None:
        for trial in curves:
            pruned = trial.get("state") == "pruned"
            epochs = range(1, len(trial["intermediate"]) + 1)
            colour, width = (RULE, 0.9) if pruned else (MODEL, 1.2)
            axes.plot(epochs, trial["intermediate"], color=colour, linewidth=width, alpha=0.75)
            if pruned:
                axes.plot(epochs[-1], trial["intermediate"][-1], "x", color=BAD, markersize=5)
        axes.plot([], [], color=MODEL, label="complete")
        if any(trial.get("state") == "pruned" for trial in curves):
            axes.plot([], [], "x-", color=RULE, markeredgecolor=BAD, label="pruned")
        axes.legend(fontsize=8.5)
        axes.xaxis.get_major_locator().set_params(integer=True)  # type: ignore[call-arg]
        axes.set(xlabel="epoch", ylabel="on validation rows")

    return draw("Trials, epoch by epoch", 3.7, 2.9, paint) if curves else NOTHING


def history(training: Mapping[str, Any]) -> Markup:
    """Draw the losses of the final training."""
    epochs = training.get("history") or []

    def paint(axes: "Axes") -> None:
        x = [epoch["epoch"] for epoch in epochs]
        for key, colour, style in (("train_loss", RULE, "--"), ("validation_loss", MODEL, "-")):
            if all(numbers(epoch.get(key)) for epoch in epochs):
                axes.plot(x, [epoch[key] for epoch in epochs], style, color=colour, label=key.replace("_", " "))
        if numbers(training.get("best_epoch")):
            axes.axvline(training["best_epoch"], color=BAD, linewidth=1, label="kept")
        axes.legend(fontsize=8.5)
        axes.xaxis.get_major_locator().set_params(integer=True)  # type: ignore[call-arg]
        axes.set(xlabel="epoch", ylabel="loss")

    return draw("Training", 3.7, 2.9, paint) if len(epochs) > 1 else NOTHING
