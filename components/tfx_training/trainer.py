"""TFX's Trainer: our network and our training loop on the transformed rows, exported as a SavedModel."""

from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft
from numpy.typing import NDArray
from tfx import v1 as tfx
from tfx_bsl.public import tfxio

from components.shared.inputs import rows
from components.shared.learning import fitting
from components.shared.learning.encoding import Encoding
from components.shared.learning.labels import LabelEncoding
from components.shared.learning.network import WideDeep
from components.shared.project import Project, Training
from components.tfx_training import transform

_BATCH = 4096


class Scorer(tf.Module):
    """From serialized examples to scores: TFX's transform graph, our network."""

    def __init__(
        self, transformed: tft.TFTransformOutput, network: WideDeep, target: LabelEncoding, label: str
    ) -> None:
        """Keep the parts.

        Args:
            transformed: The transform graph.
            network: The trained network.
            target: How the label is encoded.
            label: Column of the label, which a request does not have.
        """
        super().__init__()
        self.transform, self.network, self._target = transformed.transform_features_layer(), network, target
        self._features = {name: spec for name, spec in transformed.raw_feature_spec().items() if name != label}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def serve(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return ``score``: (n,) a probability or a value in the label's unit, or (n, classes) probabilities."""
        encoded = self.transform(tf.io.parse_example(examples, self._features))
        logits = self.network(**_arguments(encoded))
        if self._target.task == "multiclass":
            return {"score": tf.nn.softmax(logits)}
        if self._target.task == "binary":
            return {"score": tf.sigmoid(logits[:, 0])}
        return {"score": logits[:, 0] * self._target.scale + self._target.mean}


def run_fn(fn_args: tfx.components.FnArgs) -> None:
    """Train on the transformed training rows, stop by the evaluation rows, and export; see TFX's Trainer."""
    config = fn_args.custom_config
    project = Project.model_validate_json(config["project"])
    hyperparameters = Training.model_validate_json(config["hyperparameters"])
    target = LabelEncoding(**config["label"])
    fitting.steady(config["seed"])
    transformed = tft.TFTransformOutput(fn_args.transform_output)
    train, validation = (_read(fn_args, files, transformed) for files in (fn_args.train_files, fn_args.eval_files))
    for part in (train, validation):
        part[transform.LABEL] = (part[transform.LABEL] - np.float32(target.mean)) / np.float32(target.scale)
    layout = _layout(project, transformed, hyperparameters.bins)
    weights = fitting.class_weights(train[transform.LABEL], target, hyperparameters.class_weight)
    fitted = fitting.fit(
        fitting.rows(_arguments(train), train[transform.LABEL], weights),
        fitting.rows(_arguments(validation), validation[transform.LABEL], weights),
        layout,
        target,
        hyperparameters,
        seed=config["seed"],
    )
    scorer = Scorer(transformed, fitted.network, target, project.label.column)
    tf.saved_model.save(scorer, fn_args.serving_model_dir, signatures={"serving_default": scorer.serve})


def _read(
    fn_args: tfx.components.FnArgs, files: list[str], transformed: tft.TFTransformOutput
) -> dict[str, NDArray[Any]]:
    """Read all transformed rows of a split."""
    options = tfxio.TensorFlowDatasetOptions(batch_size=_BATCH, num_epochs=1, shuffle=False)
    schema = transformed.transformed_metadata.schema
    batches = list(fn_args.data_accessor.tf_dataset_factory(files, options, schema).as_numpy_iterator())
    read = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
    # Beam writes the rows in any order; the same rows in the same order make the same network.
    read[transform.LABEL] = read[transform.LABEL].reshape(-1)
    order = np.lexsort(np.column_stack([value.reshape(len(value), -1) for value in read.values()]).T)
    return {name: value[order] for name, value in read.items()}


def _arguments(encoded: dict[str, Any]) -> dict[str, Any]:
    """Return the network's arguments."""
    arguments = {}
    if transform.NUMBERS in encoded:
        arguments["numbers"] = encoded[transform.NUMBERS]
    if transform.IDS in encoded:
        ids = encoded[transform.IDS]
        arguments["ids"] = ids.astype(np.int32) if isinstance(ids, np.ndarray) else tf.cast(ids, tf.int32)
    return arguments


def _layout(project: Project, transformed: tft.TFTransformOutput, bins: int) -> Encoding:
    """Describe the transformed rows; their numbers are TFX's, so those of our own preprocessing are not a number."""
    numbers = len(rows.numeric_names(project))
    unknown = [float("nan")] * numbers
    names = [transform.vocabulary(number) for number in range(len(rows.categorical_names(project)))]
    return Encoding(
        *(unknown,) * 5,
        bucket_feature=[index for index in range(numbers) for _ in range(bins)],
        bucket_low=[float("nan")] * numbers * bins,
        bucket_width=[float("nan")] * numbers * bins,
        gaps=list(range(numbers)),
        vocabulary=[[word.decode() for word in transformed.vocabulary_by_name(name)] for name in names],
    )
