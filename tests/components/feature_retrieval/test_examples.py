"""Labels decide what an example is: young ones may be missing, and what contradicts itself is refused in a sentence."""

from datetime import timedelta

import pyarrow as pa
import pytest

from components.shared.errors import InputError
from components.shared.features.snapshot import require
from tests.components.feature_retrieval.tiny_project import Tiny, View, day

VIEW = View("rows", "SELECT * FROM examples", ["value"])


def tiny(tmp_path, rows, task="binary", kind=None, **label):
    """Make a project whose label's source has these rows (who, moment, label)."""
    who, moment, labels = (list(column) for column in zip(*rows, strict=True)) if rows else ([], [], [])
    table = pa.table(
        {
            "who": pa.array(who, pa.string()),
            "moment": pa.array(moment, pa.timestamp("us")),
            "label": pa.array(labels, kind),
            "value": pa.array([1.0] * len(who)),
        }
    )
    return Tiny(
        tmp_path, {"examples": table}, [VIEW], task=task, label={"source": "examples", "column": "label"} | label
    )


def four(*labels):
    """Make four examples, one per day."""
    return [(f"c{number}", day(number + 1), label) for number, label in enumerate(labels)]


def test_missing_labels_younger_than_the_delay_are_left_out_and_counted(tmp_path):
    project = tiny(tmp_path, four(0, 1, None, None), delay_days=2)
    rows = project.retrieve()

    assert rows["who"].to_pylist() == ["c0", "c1"]
    assert project.summary().left_out_young == 2
    assert project.summary().as_of == "2024-01-04T00:00:00"


def test_a_label_that_came_early_is_left_out_as_well_because_only_some_classes_are_known_early(tmp_path):
    project = tiny(tmp_path, four(0, 1, 1, None), delay_days=2)

    assert project.retrieve()["who"].to_pylist() == ["c0", "c1"]
    assert project.summary().left_out_young == 2


def test_without_a_delay_no_label_is_too_young(tmp_path):
    project = tiny(tmp_path, four(0, 1, 0, 1))

    assert len(project.retrieve()) == 4
    assert project.summary().left_out_young == 0


def test_a_missing_label_exactly_as_old_as_the_delay_is_refused(tmp_path):
    with pytest.raises(
        InputError, match="2 of 4 rows of source 'examples' have no label 'label', although they are older"
    ):
        tiny(tmp_path, four(0, None, 1, None), delay_days=0).retrieve()
    with pytest.raises(InputError, match="1 of 4 rows"):
        tiny(tmp_path / "edge", four(0, None, 1, None), delay_days=2).retrieve()


def test_missing_labels_beyond_the_delay_are_dropped_when_the_project_says_so(tmp_path):
    project = tiny(tmp_path, four(0, None, 1, None), delay_days=1, missing="drop")

    assert len(project.retrieve()) == 2
    assert project.summary().left_out_missing == 1
    assert project.summary().left_out_young == 1


def acted_on(tmp_path, decisions, kind=None, **label):
    """Make eight examples with the decisions that were acted on."""
    project = tiny(tmp_path, four(0, 1, 0, 1, 0, 1, 0, 1), decision_column="acted", **label)
    project.tables["examples"] = project.tables["examples"].append_column("acted", pa.array(decisions, kind))
    return project


@pytest.mark.parametrize("declared", ["changed_after", "hidden_after"])
@pytest.mark.parametrize(
    ("acting", "leaving", "kind"),
    [("call", "leave", pa.string()), (1, 0, pa.int64()), (1, 0, pa.float64()), (True, False, pa.bool_())],
)
def test_rows_whose_label_a_decision_changed_are_left_out_and_counted(tmp_path, declared, acting, leaving, kind):
    decisions = [acting, leaving, None, leaving, acting, leaving, None, acting]
    project = acted_on(tmp_path, decisions, kind, **{declared: [acting]})
    rows = project.retrieve()

    assert rows["who"].to_pylist() == ["c1", "c2", "c3", "c5", "c6"]
    assert project.summary().left_out_decided == 3


def test_a_label_that_a_decision_hides_is_not_one_that_is_missing(tmp_path):
    project = tiny(tmp_path, four(0, 1, None, 0), decision_column="acted", hidden_after=["no"])
    project.tables["examples"] = project.tables["examples"].append_column(
        "acted", pa.array(["yes", "yes", "no", "yes"])
    )

    assert len(project.retrieve()) == 3
    assert (project.summary().left_out_decided, project.summary().left_out_missing) == (1, 0)


def test_the_clock_is_that_of_all_rows_also_where_the_newest_are_left_out(tmp_path):
    project = acted_on(tmp_path, [None] * 7 + ["call"], pa.string(), changed_after=["call"], delay_days=1)

    assert project.retrieve()["who"].to_pylist() == [f"c{number}" for number in range(7)]


def test_where_everybody_was_acted_on_nothing_can_be_learned(tmp_path):
    project = acted_on(tmp_path, ["call"] * 8, changed_after=["call"])

    with pytest.raises(InputError, match=r"all 8 rows of source 'examples' have a decision 'acted' in \['call'\]"):
        project.retrieve()


def test_a_decision_column_that_is_absent_or_leaves_out_nothing_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"label.decision_column"):
        tiny(tmp_path, four(0, 1), decision_column="acted", changed_after=["call"]).retrieve()
    with pytest.raises(ValueError, match="'decision_column' is 'acted', but neither 'hidden_after' nor"):
        tiny(tmp_path, four(0, 1), decision_column="acted").bundle()


def test_a_label_that_is_not_a_number_is_missing(tmp_path):
    rows = four(1.5, float("nan"), 2.5, 3.5)

    with pytest.raises(InputError, match="1 of 4 rows"):
        tiny(tmp_path, rows, task="regression").retrieve()


@pytest.mark.parametrize(
    ("rows", "task", "label", "message"),
    [
        ([], "binary", {}, "source 'examples' has no rows"),
        (four(1, 1, 1, 1), "binary", {}, "has only the value 1; expected at least two"),
        (four("a", "b", "c", "a"), "binary", {}, r"has 3 values such as \['a', 'b', 'c'\].*Set task to multiclass"),
        (
            four("a", "b", "a", "b"),
            "binary",
            {"positive": "yes"},
            r"label.positive is 'yes'.*expected one of \['a', 'b'\]",
        ),
        (four("a", "b", "c", "d"), "regression", {}, "values such as 'a'; expected numbers for a regression"),
        (four(2.0, 2.0, 2.0, 2.0), "regression", {}, "has only the value 2.0"),
        (four(None, None, None, None), "binary", {"delay_days": 9}, "no row of source 'examples' has a label"),
        (four(None, None, None, None), "binary", {"missing": "drop"}, "no row of source 'examples' has a label"),
        ([("a", day(1), 0), ("a", day(1), 1)], "binary", {}, "1 examples .* two labels, first who 'a'"),
        ([("a", None, 0), ("b", day(1), 1)], "binary", {}, "1 of 2 rows of source 'examples' have no 'moment'"),
        ([(None, day(1), 0), ("b", day(1), 1)], "binary", {}, "1 of 2 rows of source 'examples' have no 'who'"),
        (
            four(0, 1, 0, 1),
            "binary",
            {"column": "labels"},
            "'labels' does not exist in source 'examples'; did you mean 'label'",
        ),
    ],
)
def test_labels_that_cannot_be_learnt_are_refused_in_one_line(tmp_path, rows, task, label, message):
    with pytest.raises(InputError, match=message) as caught:
        tiny(tmp_path, rows, task, **label).retrieve()

    assert "\n" not in str(caught.value)
    assert not (tmp_path / "training_set").exists()


@pytest.mark.parametrize(("name", "near"), [("entity", "whom"), ("time", "momnet")])
def test_an_unknown_entity_or_time_names_the_nearest_column(tmp_path, name, near):
    project = tiny(tmp_path, four(0, 1, 0, 1))
    setattr(project, name, near)

    with pytest.raises(InputError, match=f"'{near}' does not exist in source 'examples'; did you mean"):
        project.retrieve()


def test_a_time_that_is_text_is_refused(tmp_path):
    project = tiny(tmp_path, four(0, 1, 0, 1))
    rows = project.tables["examples"]
    project.tables["examples"] = rows.set_column(1, "moment", pa.array(["soon"] * 4))

    with pytest.raises(
        InputError, match="event_time 'moment' of source 'examples' has the type VARCHAR; expected a date"
    ):
        project.retrieve()


def test_times_with_a_zone_count_as_utc(tmp_path):
    project = tiny(tmp_path, four(0, 1, 0, 1))
    rows = project.tables["examples"]
    zoned = rows["moment"].cast(pa.timestamp("us", "UTC")).cast(pa.timestamp("us", "America/New_York"))
    project.tables["examples"] = rows.set_column(1, "moment", zoned)

    assert project.retrieve()["moment"].to_pylist() == [day(number) for number in (1, 2, 3, 4)]


def test_equal_examples_stay_as_they_are(tmp_path):
    project = tiny(tmp_path, [("a", day(1), 0), ("a", day(1), 0), ("b", day(1), 1)])

    assert project.retrieve()["who"].to_pylist() == ["a", "a", "b"]
    assert project.summary().duplicates == 1


def test_a_nearest_name_is_offered_only_when_it_is_near():
    with pytest.raises(InputError, match="it has age, income"):
        require("zzzz", ["income", "age"], "the table", "the feature")


def test_the_clock_may_come_from_another_table(tmp_path):
    project = tiny(tmp_path, four(0, 1, None, None), delay_days=2)
    project.tables["other"] = pa.table({"moment": pa.array([day(4) + timedelta(days=9)], pa.timestamp("us"))})

    with pytest.raises(InputError, match=r"2 of 4 rows .* older than the delay of 2 days at 2024-01-13"):
        project.retrieve()


def test_the_newest_examples_are_each_entity_once_at_the_run_s_clock_whatever_its_labels(tmp_path):
    rows = [("c1", day(1), 0), ("c1", day(3), None), ("c0", day(2), 1), ("c0", day(2), 0)]

    found = tiny(tmp_path, rows, delay_days=30).retrieve("newest")

    assert found["who"].to_pylist() == ["c0", "c1"]
    assert found["moment"].to_pylist() == [day(3), day(3)]
    assert found["label"].null_count == 2
    assert found["value"].null_count == 0
