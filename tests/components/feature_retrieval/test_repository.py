"""The repository is Feast's own; where it does not fit the project, the sentence says which line to change."""

import doctest
import socket

import pyarrow as pa
import pytest

from components.shared import bundle
from components.shared.documents.feature_views import FeatureViews
from components.shared.errors import InputError
from components.shared.features import names, repository
from tests.components.feature_retrieval.tiny_project import STORE, Tiny, View, day

ODD = [
    "income_y",
    "a:b",
    "rn",
    "entity_row_id",
    "event_expire_timestamp",
    names.ROW,
    names.TIME,
    "Größe in m",
    'say "hi"',
]


def tiny(tmp_path, *views, columns=("size",), **changes):
    """Make a project of four examples whose source also holds the features."""
    content = {name: pa.array([1.0, None, 3.0, 4.0]) for name in columns}
    table = pa.table(
        {
            "who": ["a", "b", "c", "d"],
            "moment": pa.array([day(1)] * 4, pa.timestamp("us")),
            "label": [0, 1, 0, 1],
            **content,
        }
    )
    views = list(views) or [View("rows", "SELECT * FROM examples", list(columns))]
    return Tiny(tmp_path, {"examples": table}, views, **changes)


def test_any_column_name_comes_through_feast_unchanged(tmp_path):
    project = tiny(tmp_path, columns=ODD)
    rows = project.retrieve()

    assert rows.column_names[3:] == ODD
    assert [rows[name].to_pylist() for name in ODD] == [[1.0, None, 3.0, 4.0]] * len(ODD)
    assert project.summary().features == dict.fromkeys(ODD, 0.25)


def test_an_entity_and_a_time_that_end_like_feasts_own_columns_work(tmp_path):
    project = tiny(tmp_path)
    table = project.tables["examples"].rename_columns({"who": "company_y", "moment": "day_y"})
    project.tables["examples"] = table
    project.entity, project.time = "company_y", "day_y"
    project.views = [View("rows", "SELECT * FROM examples", ["size"], time="day_y")]

    assert project.retrieve()["size"].to_pylist() == [1.0, None, 3.0, 4.0]


def test_a_source_may_be_called_as_our_own_tables(tmp_path):
    project = tiny(tmp_path, View("answer", "SELECT who, moment, size FROM picked", ["size"]))
    project.tables["picked"] = project.tables["examples"]

    assert project.retrieve()["size"].to_pylist() == [1.0, None, 3.0, 4.0]


def test_columns_of_a_view_that_no_service_names_are_not_carried(tmp_path):
    project = tiny(tmp_path, View("rows", "SELECT * FROM examples", ["size"]), columns=("size", "weight"))

    assert project.retrieve().column_names == ["who", "moment", "label", "size"]


def test_a_service_may_deliver_what_the_model_does_not_see(tmp_path):
    project = tiny(tmp_path, columns=("size", "group"), features=["size"])

    assert project.retrieve().column_names == ["who", "moment", "label", "size", "group"]


@pytest.mark.parametrize("kind", ["dask", "file"])
def test_a_store_that_loses_rows_is_refused(tmp_path, kind):
    with pytest.raises(InputError, match=f"offline store '{kind}', which silently drops rows.*expected 'duckdb'"):
        tiny(tmp_path, store=STORE.replace("duckdb", kind)).retrieve()


def test_a_feature_that_the_service_lacks_names_the_nearest(tmp_path):
    with pytest.raises(
        InputError, match=r"the feature 'sice' does not exist in the feature service 'service'; did you mean 'size'"
    ):
        tiny(tmp_path, features=["sice"]).retrieve()


ON_DEMAND = """
from feast import RequestSource
from feast.on_demand_feature_view import on_demand_feature_view

@on_demand_feature_view(sources=[rows], schema=[Field(name="double", dtype=Float64)], mode="python")
def doubled(inputs):
    return {"double": inputs["size"] * 2}

service = FeatureService(name="service", features=[rows, doubled])
"""
INNER = """
other = [Entity(name="other", join_keys=["who"], value_type=ValueType.STRING)]
rows.entities = ["other"]
"""


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        (ON_DEMAND, r"'doubled', which is none of the feature views \['rows'\].*feature_repo/sql/<view>.sql"),
        (INNER, r"the feature view 'rows' has the entities \['other'\]; expected those of features.py, \['who'\]"),
    ],
)
def test_a_view_or_an_entity_that_features_py_does_not_name_is_refused(tmp_path, code, sentence):
    project = bundle.project(str(tiny(tmp_path).bundle()))
    path = tmp_path / "feature_repo" / "features.py"
    path.write_text(path.read_text() + code)

    with pytest.raises(InputError, match=sentence):
        repository.views(repository.load(path.parent), project)


@pytest.mark.parametrize("name", ["label", "moment"])
def test_label_and_time_are_no_features(tmp_path, name):
    view = View("rows", "SELECT *, moment AS seen FROM examples", ["size", name], time="seen")

    with pytest.raises(InputError, match=f"'{name}' is a feature .* entity, event time and label cannot be features"):
        tiny(tmp_path, view, features=["size"]).retrieve()


def test_a_name_from_two_views_is_refused(tmp_path):
    views = [View(name, "SELECT * FROM examples", ["size"]) for name in ("one", "two")]

    with pytest.raises(InputError, match="'size' is in two views"):
        tiny(tmp_path, *views).retrieve()


def test_sql_that_fails_is_named_with_its_reason_in_one_line(tmp_path):
    with pytest.raises(InputError, match=r"feature_repo/sql/rows.sql fails: Binder Error: .*sise") as caught:
        tiny(tmp_path, View("rows", "SELECT who, moment,\n  sise AS size\nFROM examples", ["size"])).retrieve()

    assert "\n" not in str(caught.value)


def test_sql_that_fails_on_a_value_is_named_too(tmp_path):
    view = View("rows", "SELECT who, moment, ('x' || size)::DOUBLE AS size FROM examples", ["size"])

    with pytest.raises(InputError, match=r"feature_repo/sql/rows.sql fails: Conversion Error"):
        tiny(tmp_path, view).retrieve()


def test_sql_without_a_column_that_the_view_names_is_refused(tmp_path):
    view = View("rows", "SELECT who, moment, size AS sizes FROM examples", ["size"])

    with pytest.raises(InputError, match=r"'size' does not exist in the result of feature_repo/sql/rows.sql"):
        tiny(tmp_path, view).retrieve()


def test_an_entity_of_another_type_than_the_examples_is_refused(tmp_path):
    view = View("rows", "SELECT 1 AS who, moment, size FROM examples", ["size"])

    with pytest.raises(
        InputError, match=r"'who' has the type INTEGER in feature_repo/sql/rows.sql and VARCHAR in the label"
    ):
        tiny(tmp_path, view).retrieve()


@pytest.mark.parametrize("file", ["sql/rows.sql", "features.py", "feature_store.yaml"])
def test_a_missing_file_is_named(tmp_path, file):
    with pytest.raises(InputError, match=f"feature_repo/{file} does not exist"):
        tiny(tmp_path, without=file).retrieve()


def test_features_that_do_not_run_are_named_with_their_reason(tmp_path):
    view = View("rows", "SELECT 1", ["size"], ttl_days="weeks")

    with pytest.raises(InputError, match=r"feature_repo/features.py fails: NameError: name 'weeks'"):
        tiny(tmp_path, view).retrieve()


def test_retrieval_opens_no_connection(tmp_path, monkeypatch):
    def refuse(*arguments, **_):
        raise AssertionError(f"a connection to {arguments[1:]}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)

    assert len(tiny(tmp_path).retrieve()) == 4


def test_the_names_that_are_sheltered_are_those_of_the_documentation():
    assert doctest.testmod(names).failed == 0


def test_the_training_set_says_from_which_view_a_feature_comes_and_how_long_its_rows_are_valid(tmp_path):
    views = [View("rows", "SELECT * FROM examples", ["size"], ttl_days=1.5)]
    views += [View("more", "SELECT who, moment, size AS income_y FROM examples", ["income_y"])]
    tiny(tmp_path, *views).retrieve()

    facts = FeatureViews.read(tmp_path / "training_set")
    assert (facts.join_key, facts.entity_type) == ("who", "text")
    assert [(view.name, view.features, view.ttl_s) for view in facts.views] == [
        ("rows", ("size",), 129_600.0),
        ("more", ("income_y",), 0.0),
    ]
