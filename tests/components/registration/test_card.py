"""The model card says what was measured, all of it, and shows text from data as text."""

from dataclasses import replace
from types import SimpleNamespace

from components.registration import card
from components.shared.evidence import Candidate
from tests import documents
from tests.components import made_candidate

VERSION = SimpleNamespace(version=3, run_id="run-3")


def _card(tmp_path, former=None, **changed):
    candidate = Candidate.read(made_candidate.evidence(tmp_path / "candidate", **changed), made_candidate.CODE)
    return candidate, card.markdown(candidate, VERSION, former)


def test_every_section_is_there_with_its_numbers(tmp_path):
    _, text = _card(tmp_path)

    for title in ("Intended use", "Data", "Features", "Metrics", "Slices", "Fairness", "Robustness", "Value", "Gate",
                  "Limits and risks", "Lineage", "Roll back"):  # fmt: skip
        assert f"\n## {title}\n" in text
    assert "| auc | 0.812 (0.765 to 0.859) | 0.790 | 0.610 |" in text
    assert "3,200 EUR" in text
    assert "33.3 %" in text
    assert "| usage | numeric | yes | -1 to 9 |" in text
    for lineage in ("5" * 64, "a" * 64, "run-3", "4b9d291", "e" * 16, "| seed | 7 |"):
        assert lineage in text


def test_what_the_sets_held_stands_below_the_metrics(tmp_path):
    candidate, text = _card(tmp_path)
    low = documents.coverage(expected_low=0.9)
    other = card.markdown(
        replace(candidate, evaluation=documents.evaluation(coverage=(documents.coverage(), low))), VERSION, None
    )

    sentence = "- 90 % sets held 89.4 % of 150 test rows (88.4 % to 90.4 %), 1.25 classes on average"
    assert f"{sentence}\n{sentence}; fewer than chance explains\n" in other
    assert "sets held" not in text


def test_a_number_that_was_measured_otherwise_stands_otherwise_in_the_card(tmp_path):
    candidate, text = _card(tmp_path)
    evaluation = documents.evaluation(metrics={"auc": documents.metric(0.6, half=0.1)})

    other = card.markdown(replace(candidate, evaluation=evaluation), VERSION, None)

    assert "0.600 (0.500 to 0.700)" in other
    assert "0.812" in text
    assert "0.812" not in other


def test_what_was_not_measured_is_said_and_not_made_up(tmp_path):
    candidate, _ = _card(tmp_path)
    evaluation = documents.evaluation(value=None, calibration=None, fairness=(), slices=(), worst=None, robustness=())

    text = card.markdown(replace(candidate, evaluation=evaluation), VERSION, None)

    assert "names no value of a decision" in text
    assert "nothing is known about it" in text
    assert "No slice was declared" in text


def test_text_from_data_can_neither_break_a_table_nor_run(tmp_path):
    nasty = "<script>alert(1)</script> | **x** [y](javascript:z)\n# h"
    candidate, text = _card(tmp_path, plans=(nasty, "plus"))

    page = card.html(text, candidate.project.name)

    assert "<script" not in page
    assert "javascript:z" not in page.replace("[y](javascript:z)", "")
    assert "<h1>h</h1>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; | **x** [y](javascript:z) # h" in page


def test_the_page_needs_nothing_from_the_network(tmp_path):
    candidate, text = _card(tmp_path)

    page = card.html(text, candidate.project.name)

    assert "http://" not in page
    assert "https://" not in page
    assert "src=" not in page
    assert "<table>" in page


def test_the_way_back_names_the_former_champion(tmp_path):
    _, text = _card(tmp_path, former="2")

    assert "Version 2 answered before" in text.partition("## Roll back")[2]


def test_uncommitted_code_is_a_risk(tmp_path):
    candidate, text = _card(tmp_path)

    dirty = card.markdown(replace(candidate, code=candidate.code | {"dirty": "true"}), VERSION, None)

    assert "not committed" in dirty
    assert "not committed" not in text
