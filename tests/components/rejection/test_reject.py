"""A rejected candidate leaves its evidence and one clear advice, and never a version."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.rejection import logic
from components.shared import files, registry
from components.shared.documents.verdict import Ruling, Verdict
from components.shared.errors import InputError
from tests import documents
from tests.components import made_candidate
from tests.components.made_candidate import CODE, empty_registry


def test_the_run_is_kept_with_its_reasons_and_no_version_is_made(tmp_path):
    uri, evidence = empty_registry(tmp_path / "state"), made_candidate.evidence(tmp_path / "candidate", promote=False)

    run_id = logic.reject(evidence, uri, CODE, tmp_path / "advice.md")

    client = registry.open(uri)
    run = client.get_run(run_id)
    assert run.data.tags["perennial.outcome"] == "rejected"
    assert run.data.tags["perennial.accepted"] == "true"
    assert "auc +0.20, at least +0.15" in run.data.tags["perennial.reasons"]
    assert run.data.metrics["test.auc"] == 0.8123
    assert run.info.status == "FINISHED"
    assert (files.from_uri(run.info.artifact_uri) / "statistics" / "rows.pb").exists()
    assert registry.versions(client, "made") == []
    assert (tmp_path / "advice.md").read_text() == logic.advice(Verdict.read(evidence.verdict))


def test_a_promoted_candidate_can_not_be_rejected(tmp_path):
    uri, evidence = empty_registry(tmp_path / "state"), made_candidate.evidence(tmp_path / "candidate")

    with pytest.raises(InputError, match="promotes the candidate"):
        logic.reject(evidence, uri, CODE, tmp_path / "advice.md")

    assert not (tmp_path / "advice.md").exists()


def _verdict(*rulings, reason="reason"):
    rules = [Ruling(rule=f"{phase}_rule", passed=passed, reason=reason, phase=phase) for phase, passed in rulings]
    return documents.verdict(promote=False, rules=rules)


@given(st.lists(st.tuples(st.sampled_from(list(logic.PHASES)), st.booleans()), min_size=1))
def test_the_advice_goes_back_to_the_earliest_phase_that_failed_and_names_every_failed_rule(rules):
    failed = [phase for phase, passed in rules if not passed]

    text = logic.advice(_verdict(*rules))

    earliest = min(failed, key=list(logic.PHASES).index, default="evaluation")
    assert f"Go back to **{earliest}**." in text
    assert text.count("- `") == len(failed)


def test_a_reason_of_several_lines_stays_one_sentence_in_a_list():
    text = logic.advice(_verdict(("data", False), reason="too few\n\n# rows"))

    assert "- `data_rule`: too few # rows." in text
