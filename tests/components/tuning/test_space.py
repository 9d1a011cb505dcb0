"""A search space that some trial would stumble over is refused before any trial, with the name and the way out."""

from importlib.util import find_spec

import pytest

from components.shared.errors import InputError, StepFailed
from components.shared.project import Choice, Range, Training, Tuning
from components.tuning import search, space
from components.tuning.storage import storage

BAD = {
    "did you mean 'learning_rate'": Tuning(space={"learningrate": Range(low=0.1, high=0.2)}),
    "add 'step' or list 'choices'": Tuning(sampler="grid", space={"dropout": Range(low=0.0, high=0.5)}),
    "'low' must not exceed 'high'": Tuning(space={"dropout": Range(low=0.5, high=0.1)}),
    "it must be above 0": Tuning(space={"l2": Range(low=0.0, high=0.1, log=True)}),
    "add 'integer: true'": Tuning(space={"bins": Range(low=4, high=32)}),
    "is a range; expected choices": Tuning(space={"hidden": Range(low=4, high=32)}),
    "the search space of 'dropout' has the invalid value 1.5": Tuning(space={"dropout": Choice(choices=(0.1, 1.5))}),
    "'hidden' has the invalid value 'wide'": Tuning(space={"hidden": Choice(choices=("none", "wide"))}),
    "empty search space": Tuning(space={}, trees_space={}),
    "both 'log' and 'step'": Tuning(space={"l2": Range(low=0.1, high=0.3, log=True, step=0.1)}),
}


@pytest.mark.parametrize("says", BAD)
def test_a_bad_space_is_refused_with_a_sentence_that_helps(says):
    with pytest.raises(InputError, match=says) as refused:
        space.check(BAD[says], Training())

    assert "\n" not in str(refused.value)


def test_the_default_space_is_good():
    space.check(Tuning(), Training())


def test_a_grid_holds_both_ends_of_a_range_and_every_choice():
    tuning = Tuning(
        sampler="grid", space={"dropout": Range(low=0, high=0.3, step=0.1), "bins": Choice(choices=(8, 16))}
    )

    assert space.grid(tuning.space) == {"dropout": [0.0, 0.1, 0.2, 0.3], "bins": [8, 16]}
    assert len(space.planned(tuning.model_copy(update={"trials": 99}), Training(), "network", seed=0)) == 8
    assert len(space.planned(tuning.model_copy(update={"trials": 5}), Training(), "network", seed=0)) == 5


def test_the_search_starts_from_the_projects_own_values_where_the_space_holds_them():
    outside = Tuning(space={"dropout": Range(low=0.3, high=0.5)})

    assert space.planned(Tuning(), Training(), "network", seed=0)[0]["learning_rate"] == Training().learning_rate
    assert space.planned(outside, Training(dropout=0.1), "network", seed=0) == []


@pytest.mark.skipif(find_spec("torch") is not None, reason="PyTorch is installed, so the sampler works")
def test_the_gp_sampler_without_pytorch_names_what_it_needs():
    with pytest.raises(InputError, match=r"requires PyTorch.* or set 'tuning.sampler: tpe'"):
        search.sampler(Tuning(sampler="gp"), seed=0)


def test_a_database_that_cannot_be_used_is_told_without_its_password():
    with pytest.raises(InputError, match=r"oracle9://ann:\*\*\*@host/db.*expected a folder or postgresql") as refused:
        storage("oracle9://ann:secret@host/db", "study")

    assert "secret" not in str(refused.value)


def test_a_database_that_does_not_answer_is_one_sentence(tmp_path):
    with pytest.raises(StepFailed, match="is not reachable") as refused:
        storage("postgresql://ann:secret@127.0.0.1:1/db", "study")

    assert "secret" not in str(refused.value)
    assert "\n" not in str(refused.value)
