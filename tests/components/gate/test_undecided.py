"""An aspect that too few rows leave undecided does not block a candidate that is proven better in all others."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.gate.logic import judge
from components.shared.documents.evaluation import Comparisons, EvaluatedRows, EvaluationReport
from components.shared.project import Project
from tests import documents
from tests.components.gate.evaluations import measured, project, rows, ruling


def in_each(
    ranking: tuple[float, float, float],
    probabilities: tuple[float, float, float],
    decisions: tuple[float, float, float],
    **changes: Any,
) -> EvaluationReport:
    """An evaluation against a champion: difference, low and high of the candidate's advantage in each aspect."""

    def compared(metric: str, sign: int, advantage: tuple[float, float, float]) -> Comparisons:
        middle, *ends = (sign * value for value in advantage)
        better = documents.comparison(0.1, metric=metric)
        champion = documents.comparison(middle, metric=metric, low=min(ends), high=max(ends))
        return Comparisons(rule=better, plain=better, champion=champion)

    return measured(
        comparisons=compared("auc", 1, ranking),
        # Of a loss, less is better: the candidate's advantage is the champion's loss minus its own.
        probabilities=compared("log_loss", -1, probabilities).model_copy(
            update={"plain": documents.comparison(-0.1, metric="log_loss")}
        ),
        decisions=compared("accuracy", 1, decisions),
        **changes,
    )


MARGINS: dict[str, Any] = {"champion_margin": 0.25, "probability_margin": 0.25, "decision_margin": 0.25}
BETTER, EQUAL, WORSE = (0.5, 0.125, 0.75), (0.0, -0.125, 0.125), (-0.5, -0.75, -0.125)
UNDECIDED = (-0.125, -0.5, 0.25)
ASPECTS = ["champion", "champion probabilities", "champion decisions"]


def placed(
    which: int, one: tuple[float, float, float], others: tuple[float, float, float], **changes: Any
) -> EvaluationReport:
    """Return an evaluation with a different result in one of the three aspects."""
    ranking, probabilities, decisions = (one if position == which else others for position in range(3))
    return in_each(ranking, probabilities, decisions, **changes)


@pytest.mark.parametrize("which", [0, 1, 2])
def test_an_undecided_aspect_does_not_block_what_is_proven_better_in_the_two_others(which):
    verdict = judge(project(**MARGINS), placed(which, UNDECIDED, BETTER))

    assert verdict.promote
    assert [judged.rule for judged in verdict.rules if judged.remark == "undecided"] == [ASPECTS[which]]


def test_the_ruling_about_an_undecided_aspect_says_its_numbers_and_what_outweighs_it():
    reason = ruling(judge(project(**MARGINS), in_each(UNDECIDED, BETTER, BETTER)), "champion").reason

    assert reason == (
        "auc differs by -0.1250 (95 % interval -0.5000 to +0.2500) from the champion; the lower confidence bound may "
        "be at most 0.25 worse; it is worse than that, but no loss is proven, and log_loss and accuracy are proven "
        "better"
    )


@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize(
    ("advantage", "promoted", "remark"),
    [
        # The middle at the margin, and beyond it.
        ((-0.25, -0.5, 0.25), True, "undecided"),
        ((-0.26, -0.5, 0.25), False, None),
        # The better end at no difference, and on the wrong side.
        ((-0.125, -0.5, 0.0), True, "undecided"),
        ((-0.125, -0.5, -0.001), False, None),
        # The worse end at the margin: non-inferior, so that nothing needs to outweigh it.
        ((-0.125, -0.25, 0.25), True, None),
        ((-0.125, -0.251, 0.25), True, "undecided"),
        # The middle may speak for the candidate.
        ((0.125, -0.5, 0.75), True, "undecided"),
    ],
)
def test_undecided_means_a_wide_interval_with_a_tolerable_middle_and_no_proven_loss(which, advantage, promoted, remark):
    verdict = judge(project(**MARGINS), placed(which, advantage, BETTER))

    assert verdict.promote is promoted
    assert ruling(verdict, ASPECTS[which]).remark == remark


@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize(
    ("other", "promoted"),
    [(BETTER, True), ((0.5, 0.001, 0.75), True), ((0.5, 0.0, 0.75), False), (EQUAL, False), (WORSE, False)],
)
def test_what_outweighs_an_undecided_aspect_is_proven_in_both_others(which, other, promoted):
    advantages = [BETTER, BETTER, BETTER]
    advantages[which], advantages[(which + 1) % 3] = UNDECIDED, other

    assert judge(project(**MARGINS), in_each(*advantages)).promote is promoted


@pytest.mark.parametrize("which", [0, 1, 2])
def test_two_undecided_aspects_block_however_much_better_the_third_is(which):
    verdict = judge(project(**MARGINS), placed(which, BETTER, UNDECIDED))

    assert [judged.rule for judged in verdict.failed] == [aspect for aspect in ASPECTS if aspect != ASPECTS[which]]


@pytest.mark.parametrize("unjudged", list(MARGINS))
@pytest.mark.parametrize("undecided", [0, 1, 2])
def test_an_aspect_that_is_not_judged_outweighs_nothing(unjudged, undecided):
    verdict = judge(project(**(MARGINS | {unjudged: None})), placed(undecided, UNDECIDED, BETTER))

    is_named = list(MARGINS)[undecided] == unjudged
    assert verdict.promote is is_named
    assert [judged.rule for judged in verdict.failed] == ([] if is_named else [ASPECTS[undecided]])


@pytest.mark.parametrize("which", [0, 1, 2])
def test_an_undefined_aspect_is_not_undecided(which):
    undefined = documents.comparison(0.5, low=None, high=None)
    evaluation = placed(which, UNDECIDED, BETTER)
    name = ("comparisons", "probabilities", "decisions")[which]
    compared = getattr(evaluation, name)
    unknown = compared.model_copy(
        update={"champion": undefined.model_copy(update={"metric": compared.champion.metric})}
    )

    verdict = judge(project(**MARGINS), evaluation.model_copy(update={name: unknown}))

    assert [judged.rule for judged in verdict.failed] == [ASPECTS[which]]


CHANGE = datetime(2025, 5, 1, tzinfo=UTC)


def changed_world(**gate: Any) -> Project:
    """Return a project whose split begins on the day of a change."""
    unchanged = project(**gate)
    return unchanged.model_copy(update={"split": unchanged.split.model_copy(update={"since": CHANGE})})


def trained_from(
    oldest: datetime | None, champion: datetime | None = CHANGE - timedelta(days=200)
) -> dict[str, EvaluatedRows]:
    """Return the change of an evaluation whose oldest training row, and that of the champion, is of some time."""
    own, former = (None if moment is None else moment.isoformat() for moment in (oldest, champion))
    return {"rows": rows(800).model_copy(update={"oldest_trained": own, "champion_oldest_trained": former})}


@pytest.mark.parametrize(
    ("champion", "promoted"),
    [(CHANGE - timedelta(seconds=1), True), (CHANGE, False), (CHANGE + timedelta(days=1), False), (None, False)],
)
def test_a_champion_from_after_the_change_is_not_outweighed_by_one_aspect(champion, promoted):
    evaluation = in_each(BETTER, EQUAL, UNDECIDED, **trained_from(CHANGE, champion))

    assert judge(changed_world(**MARGINS), evaluation).promote is promoted


@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize(
    ("other", "promoted"),
    [
        (BETTER, True),
        (EQUAL, True),
        # At the margin, and beyond it.
        ((0.0, -0.25, 0.125), True),
        ((0.0, -0.251, 0.125), False),
        (UNDECIDED, False),
        (WORSE, False),
    ],
)
def test_after_a_change_one_aspect_that_is_proven_better_is_enough_if_the_other_is_not_inferior(which, other, promoted):
    advantages = [BETTER, BETTER, BETTER]
    advantages[which], advantages[(which + 1) % 3] = UNDECIDED, other

    assert judge(changed_world(**MARGINS), in_each(*advantages, **trained_from(CHANGE))).promote is promoted


@pytest.mark.parametrize("which", [0, 1, 2])
def test_after_a_change_nothing_outweighs_without_a_proof(which):
    verdict = judge(changed_world(**MARGINS), placed(which, UNDECIDED, (0.5, 0.0, 0.75), **trained_from(CHANGE)))

    assert [judged.rule for judged in verdict.failed] == [ASPECTS[which]]


@pytest.mark.parametrize("oldest", [CHANGE - timedelta(seconds=1), None])
def test_a_candidate_that_was_also_trained_on_rows_before_the_change_is_judged_as_always(oldest):
    mostly_old = in_each(UNDECIDED, EQUAL, BETTER, **trained_from(oldest))

    assert not judge(changed_world(**MARGINS), mostly_old).promote


def test_without_a_dated_change_new_rows_alone_relax_nothing():
    assert not judge(project(**MARGINS), in_each(UNDECIDED, EQUAL, BETTER, **trained_from(CHANGE))).promote


def test_after_a_change_the_ruling_names_only_what_is_proven():
    verdict = judge(changed_world(**MARGINS), in_each(UNDECIDED, EQUAL, BETTER, **trained_from(CHANGE)))

    assert ruling(verdict, "champion").reason.endswith("no loss is proven, and accuracy is proven better")


def test_a_regression_which_has_no_decisions_has_nothing_that_outweighs():
    evaluation = in_each(
        UNDECIDED, BETTER, BETTER, task="regression", value=None,
        rows=rows(800).model_copy(update={"by_class": None}),
    )  # fmt: skip

    verdict = judge(project(**MARGINS), evaluation.model_copy(update={"decisions": None}))

    assert [judged.rule for judged in verdict.failed] == ["champion"]


def test_before_the_first_release_an_undecided_comparison_with_the_plain_model_blocks():
    def against_plain(metric: str, advantage: tuple[float, float, float], sign: int) -> Comparisons:
        middle, *ends = (sign * value for value in advantage)
        plain = documents.comparison(middle, metric=metric, low=min(ends), high=max(ends))
        return Comparisons(rule=documents.comparison(0.1), plain=plain, champion=None)

    evaluation = measured(
        comparisons=against_plain("auc", UNDECIDED, 1),
        probabilities=against_plain("log_loss", BETTER, -1),
        decisions=against_plain("accuracy", BETTER, 1),
    )

    verdict = judge(project(**MARGINS, plain_margin=0.25), evaluation)

    assert [judged.rule for judged in verdict.failed] == ["plain model"]


def test_electricity_keeps_its_champion_although_only_the_ranking_is_close():
    verdict = judge(project(), in_each((-0.002, -0.004, 0.0001), (-0.121, -0.13, -0.11), (-0.171, -0.18, -0.16)))

    assert [judged.rule for judged in verdict.failed] == [
        "champion probabilities", "champion decisions", "champion in all",
    ]  # fmt: skip


ADVANTAGE = st.tuples(st.floats(-0.5, 0.5), st.floats(0, 0.5), st.floats(0, 0.5)).map(
    lambda drawn: (drawn[0], drawn[0] - drawn[1], drawn[0] + drawn[2])
)
MARGIN = st.none() | st.floats(0, 0.5)
BETTERMENT = st.floats(0, 1)


@settings(max_examples=300, deadline=None)
@given(
    advantages=st.tuples(ADVANTAGE, ADVANTAGE, ADVANTAGE)
    | st.permutations([UNDECIDED, BETTER, BETTER])
    | st.permutations([UNDECIDED, EQUAL, BETTER]),
    which=st.integers(0, 2),
    betterment=st.tuples(BETTERMENT, BETTERMENT, BETTERMENT),
    margins=st.tuples(MARGIN, MARGIN, MARGIN) | st.just(tuple(MARGINS.values())),
    of_project=st.sampled_from([project, changed_world]),
)
def test_getting_better_in_one_aspect_never_turns_a_promotion_into_a_rejection(
    advantages, which, betterment, margins, of_project
):
    middle, low, high = (value + gain for value, gain in zip(advantages[which], betterment, strict=True))
    improved = list(advantages)
    improved[which] = (middle, min(low, middle), max(high, middle))
    judged_by = of_project(**dict(zip(MARGINS, margins, strict=True)))

    before, after = (judge(judged_by, in_each(*each, **trained_from(CHANGE))) for each in (advantages, improved))

    assert after.promote >= before.promote
