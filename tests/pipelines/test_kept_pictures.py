"""A repeated run shows the pictures of the run that it repeats, and draws them only where it has to."""

import json

import pytest
from markupsafe import Markup

from pipelines.runs.report import kept_pictures

DRAWN = {"roc": Markup("<svg>&lt;</svg>"), "value": Markup("")}


def refuse():
    raise AssertionError("drawn again")


def test_pictures_are_drawn_once_and_stay_markup(tmp_path):
    first = kept_pictures.pictures(tmp_path / "first", None, lambda: DRAWN)
    second = kept_pictures.pictures(tmp_path / "second", tmp_path / "first", refuse)

    assert first == second == DRAWN
    assert all(isinstance(picture, Markup) for picture in second.values())


def test_a_run_that_repeats_none_draws_its_own(tmp_path):
    kept_pictures.pictures(tmp_path / "first", None, lambda: DRAWN)

    with pytest.raises(AssertionError, match="drawn again"):
        kept_pictures.pictures(tmp_path / "first", None, refuse)


@pytest.mark.parametrize("content", [None, "{", "[]", '{"code": "of another version", "pictures": {}}', '{"code": 1}'])
def test_pictures_that_are_gone_broken_or_of_other_code_are_drawn_again(tmp_path, content):
    first = tmp_path / "first"
    kept_pictures.pictures(first, None, lambda: {"roc": Markup("old")})
    if content is None:
        (first / kept_pictures.FILE).unlink()
    else:
        (first / kept_pictures.FILE).write_text(content)

    assert kept_pictures.pictures(tmp_path / "second", first, lambda: DRAWN) == DRAWN
    assert json.loads((tmp_path / "second" / kept_pictures.FILE).read_text())["pictures"]["roc"] == DRAWN["roc"]
