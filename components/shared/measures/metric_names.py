"""The metrics of each task: their names, their direction, and the one that comparisons use by default."""

PRIMARY = {"binary": "auc", "multiclass": "auc_ovr", "regression": "r2"}
# None: neither direction is better by itself.
HIGHER_IS_BETTER: dict[str, bool | None] = {
    "auc": True,
    "average_precision": True,
    "accuracy": True,
    "balanced_accuracy": True,
    "precision": True,
    "recall": True,
    "f1": True,
    "auc_ovr": True,
    "macro_f1": True,
    "r2": True,
    "value_per_1000": True,
    "brier": False,
    "log_loss": False,
    "false_positive_rate": False,
    "rmse": False,
    "mae": False,
    "selection_rate": None,
    "mean_error": None,
    "scaled_error_p90": False,
    "value_share": True,
}
MEASURED: dict[str, tuple[str, ...]] = {
    "binary": (
        "auc",
        "average_precision",
        "brier",
        "log_loss",
        "accuracy",
        "balanced_accuracy",
        "precision",
        "recall",
        "f1",
        "false_positive_rate",
        "selection_rate",
    ),
    "multiclass": ("auc_ovr", "accuracy", "balanced_accuracy", "macro_f1", "log_loss"),
    "regression": ("r2", "rmse", "mae", "mean_error", "scaled_error_p90"),
}
"""Metrics of a model on rows, by task; with a declared value, a binary task also has ``value_per_1000``."""
SELECTABLE: dict[str, tuple[str, ...]] = {
    "binary": ("auc", "average_precision", "accuracy", "balanced_accuracy", "f1", "brier", "log_loss"),
    "multiclass": ("auc_ovr", "accuracy", "balanced_accuracy", "macro_f1", "log_loss"),
    "regression": ("r2", "rmse", "mae", "scaled_error_p90"),
}
"""Metrics that a project file may choose as the main one, by task."""
JUDGED_CLASS_ROWS = 20
"""Fewest test rows of a class that the main metric of several classes averages over; fewer give it no steady value."""
