"""A SavedModel becomes a package of our server that answers alike, or a sentence says why it does not."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from components.shared.errors import InputError
from components.shared.inputs import rows
from components.shared.package.model_package import ModelPackage
from components.tfx_training import package
from components.tfx_training.saved_model import SavedModel
from tests.components import made_splits
from tests.components.tfx_training import foreign_model
from tests.components.tfx_training.foreign_model import PARSED, Foreign

PROJECT = made_splits.project()


@pytest.fixture(scope="module")
def splits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("splits") / "splits"
    made_splits.write(folder, made_splits.table(rows=400))
    return folder


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return foreign_model.save(tmp_path_factory.mktemp("foreign") / "1", Foreign())


def columns(splits: Path) -> tuple[rows.Inputs, list[str], list[str]]:
    """Return the training rows, some of whose values are missing, unknown or extreme."""
    names = rows.numeric_names(PROJECT), rows.categorical_names(PROJECT)
    inputs = rows.inputs(pq.read_table(splits / "train.parquet"), *names)
    spent, usage, plan = names[0].index("spent"), names[0].index("usage"), names[1].index("plan")
    inputs.numeric[::3, spent] = np.nan
    inputs.numeric[::4, usage], inputs.numeric[1::4, usage] = np.nan, 0.0
    inputs.categorical[::5, plan], inputs.categorical[1::5, plan] = "", "never seen"
    return inputs, *names


def test_a_model_of_another_project_answers_as_tensorflow_does_from_a_package(foreign, splits, tmp_path):
    facts = package.write(PROJECT, foreign, splits, tmp_path / "package")
    inputs, numeric, categorical = columns(splits)
    opened = ModelPackage.open(tmp_path / "package")
    expected = SavedModel(foreign, "binary").answer(inputs, numeric, categorical)

    assert np.ptp(expected) > 0.2
    assert np.allclose(opened.score(inputs.feed()), expected, atol=1e-6)
    assert (facts.classes, facts.positive, facts.threshold) == (("no", "yes"), "yes", None)
    assert [len(row) for row in opened.sample()] == [len(PROJECT.features.columns)] * 3


def test_an_altered_vocabulary_is_another_model(foreign, splits, tmp_path):
    shutil.copytree(foreign, tmp_path / "altered")
    before = package.write(PROJECT, foreign, splits, tmp_path / "package").weights_hash
    (tmp_path / "altered" / "assets").mkdir(exist_ok=True)
    (tmp_path / "altered" / "assets" / "words.txt").write_text("other")

    assert package.write(PROJECT, tmp_path / "altered", splits, tmp_path / "other").weights_hash != before


def hashed_words() -> tf.Module:
    return Foreign(PARSED, lambda words: tf.strings.to_hash_bucket_fast(words, 10))


class Summed(Foreign):
    """Adds up what a feature has in a row."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def serve(self, examples: Any) -> dict[str, Any]:
        read = tf.io.parse_example(examples, {"usage": tf.io.VarLenFeature(tf.float32)})
        return {"score": tf.sparse.reduce_sum(read["usage"], axis=1)}


def of_another_feature() -> tf.Module:
    return Foreign({**PARSED, "color": tf.io.FixedLenFeature([], tf.string)})


def of_another_type() -> tf.Module:
    return Foreign({**PARSED, "paperless": tf.io.FixedLenFeature([], tf.string)})


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        (of_another_feature, r"reads the feature 'color', which the project does not have; it has \['age'"),
        (of_another_type, r"reads 'paperless' as string, the project file says that it is a number"),
        (Summed, r"in another way than as one value in a row, such as a sum over several values"),
        (
            hashed_words,
            r"has the operations \['StringToHashBucketFast'\], which ONNX lacks; such a model stays",
        ),
    ],
)
def test_a_model_that_cannot_become_a_package_is_refused_in_a_sentence(
    splits: Path, tmp_path: Path, model: Callable[[], Any], sentence: str
):
    saved = foreign_model.save(tmp_path / "saved", model())

    with pytest.raises(InputError, match=sentence):
        package.write(PROJECT, saved, splits, tmp_path / "package")


def test_a_folder_a_signature_or_an_output_that_is_not_there_is_named(foreign, splits, tmp_path):
    with pytest.raises(InputError, match=r"has no saved_model\.pb; name the folder of a version"):
        package.write(PROJECT, tmp_path, splits, tmp_path / "package")
    with pytest.raises(InputError, match=r"has no signature 'predict'; expected one of \['serving_default'\]"):
        package.write(PROJECT, foreign, splits, tmp_path / "package", "predict")
    with pytest.raises(InputError, match=r"has no output 'scores'; expected one of \['probabilities'\]"):
        package.write(PROJECT, foreign, splits, tmp_path / "package", output="scores")
