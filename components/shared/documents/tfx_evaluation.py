"""``tfx_evaluation.json``: what TFX's Evaluator measured of a model on the test rows, and whether it blessed it."""

from components.shared.documents.document import Document


class TfxEvaluation(Document):
    """The Evaluator's metrics and verdict."""

    FILE = "tfx_evaluation.json"

    metrics: dict[str, float]
    """TFX's name of a metric -> its value on all test rows."""
    slices: dict[str, dict[str, float]]
    """``feature = value`` -> the metrics on those rows."""
    anomalies: tuple[str, ...]
    """What ExampleValidator found against the reviewed schema: split, column and sentence."""
    blessed: bool
    failures: tuple[str, ...]
    """Metrics beyond their thresholds, in a few words each."""
