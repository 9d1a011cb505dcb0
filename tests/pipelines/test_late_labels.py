"""A table of labels is read by request or by entity and time, and a table that can't be is refused in one sentence."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from components.shared import label_store
from components.shared.errors import InputError
from components.shared.project import Project
from pipelines.command import cli
from pipelines.scoring.late_labels import LabelColumns, check_times, read

PROJECT = """
name: small
task: {task}
entity: customer
event_time: at
sources: {{rows: {{path: rows.csv}}}}
label: {{source: rows, column: churned}}
features: {{service: small_v1, columns: {{x: {{type: numeric}}}}}}
"""
NO_COLUMNS = LabelColumns()


@pytest.fixture
def table(tmp_path: Path):
    def written(text: str, name: str = "labels.csv") -> Path:
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return written


def project(task: str = "binary") -> Project:
    import yaml

    return Project.model_validate(yaml.safe_load(PROJECT.format(task=task)))


def test_labels_by_request_have_no_entity(table):
    labels = read(project(), table("request_id,churned\nr1,1\nr2,0\n"), NO_COLUMNS).to_pylist()

    assert [(row["request_id"], row["row"], row["entity"], row["label"]) for row in labels] == [
        ("r1", None, None, "1"), ("r2", None, None, "0")
    ]  # fmt: skip


def test_labels_by_entity_have_the_columns_of_the_project_unless_others_are_named(table):
    expected = ("7", datetime(2026, 1, 2, tzinfo=UTC), "yes", datetime(2026, 2, 1, tzinfo=UTC))
    own = read(
        project(), table("customer,at,churned,seen\n7,2026-01-02,yes,2026-02-01\n"), LabelColumns(known_at="seen")
    )
    columns = LabelColumns(entity="who", time="day", label="left", known_at="seen")
    named = read(project(), table("who,day,left,seen,request_id\n7,2026-01-02,yes,2026-02-01,r\n", "b.csv"), columns)

    for labels in (own, named):
        [row] = labels.to_pylist()
        assert (row["entity"], row["event_time"], row["label"], row["known_at"]) == expected
        assert row["request_id"] is None


@pytest.mark.parametrize(
    "text", ["2026-01-02", "2026-01-02 00:00:00", "2026-01-02T00:00:00Z", "2026-01-02T01:00:00+01:00"]
)
def test_a_time_without_a_zone_is_in_utc(table, text):
    [row] = read(project(), table(f"customer,at,churned\n7,{text},1\n"), NO_COLUMNS).to_pylist()

    assert row["event_time"] == datetime(2026, 1, 2, tzinfo=UTC)


def test_a_table_without_a_time_has_labels_of_each_entitys_newest_row(table):
    [row] = read(project(), table("customer,churned\n7,1\n"), NO_COLUMNS).to_pylist()

    assert (row["entity"], row["event_time"], row["label"]) == ("7", None, "1")
    with pytest.raises(InputError, match=r"lacks the columns \['day'\]"):
        read(project(), table("customer,churned\n7,1\n"), LabelColumns(time="day"))


def test_a_label_that_is_not_known_yet_is_left_out(table):
    assert read(project(), table("request_id,churned\nr1,1\nr2,\n"), NO_COLUMNS)["request_id"].to_pylist() == ["r1"]


def test_numbers_are_the_labels_of_a_regression_and_nothing_else_is(table):
    labels = read(project("regression"), table("request_id,churned\nr1,2\nr2,2.5\n"), NO_COLUMNS)

    assert [float(text) for text in labels["label"].to_pylist()] == [2.0, 2.5]
    with pytest.raises(InputError, match=r"'churned' of b\.csv cannot be read as double"):
        read(project("regression"), table("request_id,churned\nr1,much\n", "b.csv"), NO_COLUMNS)


def converting(**sql: str) -> Project:
    given = project()
    rows = given.sources["rows"].model_copy(update={"convert": sql})
    return given.model_copy(update={"sources": {"rows": rows}})


def test_what_the_project_file_converts_is_converted_in_a_table_of_labels_too(table):
    asked = converting(churned="CASE WHEN churned = 'gone' THEN 'yes' ELSE 'no' END", at="strptime(\"at\", '%d.%m.%Y')")

    [row] = read(asked, table("customer,at,churned,x\n7,31.01.2026, gone ,?\n"), NO_COLUMNS).to_pylist()

    assert (row["event_time"], row["label"]) == (datetime(2026, 1, 31, tzinfo=UTC), "yes")


def test_a_conversion_sees_the_texts_of_the_file(table):
    asked = converting(at="strptime(\"at\", '%Y%m%d')")

    [row] = read(asked, table("customer,at,churned\n7,20260131,1\n"), NO_COLUMNS).to_pylist()

    assert row["event_time"] == datetime(2026, 1, 31, tzinfo=UTC)


def test_conversions_of_columns_that_are_not_read_change_nothing(table):
    asked = converting(x="absent + 1", churned="upper(churned)")

    [row] = read(asked, table("who,left,x\n7,yes,1\n"), LabelColumns(entity="who", label="left")).to_pylist()

    assert (row["entity"], row["label"]) == ("7", "yes")


@pytest.mark.parametrize(
    ("sql", "sentence"),
    [
        ({"at": "try_strptime(\"at\", '%d.%m.%Y')"}, "can't convert 1 of 2 values of 'at', first '2026-02-30'"),
        ({"churned": "nothing"}, "'convert' of 'churned' fails"),
        ({"churned": "nullif(churned, churned)"}, "can't convert 2 of 2 values of 'churned'"),
    ],
)
def test_a_conversion_that_fails_is_one_sentence(table, sql, sentence):
    with pytest.raises(InputError, match=sentence.replace("(", r"\(")):
        read(converting(**sql), table("customer,at,churned\n7,31.01.2026,1\n8,2026-02-30,0\n"), NO_COLUMNS)


def test_labels_are_written_as_training_writes_them(tmp_path):
    pq.write_table(pa.table({"request_id": ["a", "b"], "churned": [True, False]}), tmp_path / "l.parquet")
    pq.write_table(pa.table({"request_id": ["a", "b"], "churned": [1.0, 0.0]}), tmp_path / "f.parquet")

    assert read(project(), tmp_path / "l.parquet", NO_COLUMNS)["label"].to_pylist() == ["true", "false"]
    assert read(project(), tmp_path / "f.parquet", NO_COLUMNS)["label"].to_pylist() == ["1", "0"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("request_id,left\nr1,1\n", r"labels.csv lacks the columns \['churned'\]; it has \['request_id', 'left'\]"),
        ("at,churned\n2026-01-02,1\n", r"lacks the columns \['customer'\]"),
        ("customer,at,churned\n7,2026-01-02,1\n,2026-01-02,1\n", "has 1 labels without 'customer'"),
        ("customer,at,churned\n7,soon,1\n", "'at' of labels.csv cannot be read as timestamp"),
        ('request_id,churned\n"r1,1\n', "cannot be read"),
    ],
)
def test_a_table_that_can_not_be_read_is_one_sentence(table, text, sentence):
    with pytest.raises(InputError, match=sentence):
        read(project(), table(text), NO_COLUMNS)


def test_a_file_that_is_not_there_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match="does not exist; expected a CSV or parquet file"):
        read(project(), tmp_path / "absent.csv", NO_COLUMNS)


def test_the_command_adds_labels_once_and_says_how(tmp_path):
    (tmp_path / "project.yaml").write_text(PROJECT.format(task="binary"))
    (tmp_path / "new.csv").write_text("request_id,churned\nr1,1\nr2,0\n")

    def perennial(*arguments: str, code: int = 0) -> str:
        done = CliRunner().invoke(cli.main, [*arguments, "--project", str(tmp_path)])
        assert done.exit_code == code, done.output
        return done.output

    assert "added 2 labels by request" in perennial("labels", "add", str(tmp_path / "new.csv"))
    assert "nothing to do: these 2 labels were added before" in perennial("labels", "add", str(tmp_path / "new.csv"))
    assert len(list((tmp_path / ".perennial" / "labels").glob("*.parquet"))) == 1
    assert "lacks the columns ['when']" in perennial(
        "labels", "add", str(tmp_path / "new.csv"), "--entity", "request_id", "--time", "when", code=2
    )


def test_an_empty_table_adds_nothing(tmp_path):
    added = label_store.add(tmp_path / "labels", label_store.SCHEMA.empty_table(), datetime(2026, 1, 1, tzinfo=UTC))

    assert (added.rows, added.is_new) == (0, False) and not (tmp_path / "labels").exists()
    assert json.dumps(label_store.query(tmp_path / "labels"))


def test_outcomes_are_numbers_of_requests_or_entities_and_are_forgotten_with_them(table, tmp_path):
    (tmp_path / "project.yaml").write_text(PROJECT.format(task="binary"))
    sales = table("customer,at,amount\nada,2026-01-02,12.5\ngrace,2026-01-02,-3\n", "sales.csv")
    store = tmp_path / ".perennial" / "outcomes"

    def command(*arguments: str, code: int = 0) -> str:
        done = CliRunner().invoke(cli.main, [*arguments, "--project", str(tmp_path)])
        assert done.exit_code == code, done.output
        return done.output

    assert "added 2 outcomes" in command("outcomes", "add", str(sales), "--value", "amount")
    assert "these 2 outcomes were added before" in command("outcomes", "add", str(sales), "--value", "amount")
    [path] = store.glob("*.parquet")
    assert pq.read_table(path)["label"].to_pylist() == ["12.5", "-3"]
    assert not (tmp_path / ".perennial" / "labels").exists()
    assert "lacks the columns ['value']" in command("outcomes", "add", str(sales), code=2)
    words = table("customer,value\nada,much\n", "words.csv")
    assert "cannot be read as double" in command("outcomes", "add", str(words), code=2)

    assert "1 labels" in command("forget", "ada")
    assert pq.read_table(path)["entity"].to_pylist() == ["grace"]


@pytest.mark.parametrize("value", ["inf", "-inf"])
def test_a_figure_that_is_not_finite_is_refused(table, value):
    figures = table(f"customer,at,churned\n7,2026-01-02,{value}\n8,2026-01-02,1\n")

    with pytest.raises(InputError, match="has 1 values that are not finite"):
        read(project("regression"), figures, NO_COLUMNS)


@pytest.mark.parametrize("day", [1, 2, 3])
def test_labels_of_the_future_are_refused_beyond_what_clocks_may_differ_by(table, day):
    path = table(f"customer,at,churned,seen\n7,2026-01-01,yes,2026-02-{day:02}\n8,2026-01-01,no,2026-02-01\n")
    labels = read(project(), path, LabelColumns(known_at="seen"))
    now = datetime(2026, 2, 1, tzinfo=UTC)

    if day <= 2:
        check_times(labels, path, now)
    else:
        with pytest.raises(InputError, match=r"1 of 2 labels in labels\.csv became known after now, .* 2026-02-03"):
            check_times(labels, path, now)
    unknown = labels.set_column(labels.column_names.index("known_at"), "known_at", pa.nulls(2, labels["known_at"].type))
    with pytest.raises(InputError, match=r"2 of 2 labels in labels\.csv are about an event after now"):
        check_times(unknown, path, now.replace(year=2025))
