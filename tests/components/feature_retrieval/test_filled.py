"""A feature that no row has is refused where its source has values, with what is wrong."""

from typing import Any

import pyarrow as pa
import pytest

from components.shared.errors import InputError
from tests.components.feature_retrieval.tiny_project import Tiny, View, day

EXAMPLES = pa.table({"who": ["a", "b"], "moment": [day(9), day(10)], "label": [0, 1]})


def tiny(folder, sql: str, **usage: Any) -> Tiny:
    used = pa.table(
        {"who": ["a", "b"], "moment": [day(1), day(2)], "active": ["yes", "no"], "gap": [None, None]} | usage
    )
    return Tiny(folder, {"examples": EXAMPLES, "usage": used}, [View("usage", sql, ["value"])])


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT who, moment, TRY_CAST(active AS DOUBLE) AS value FROM usage",
        "WITH read AS (SELECT *, upper(active) AS word FROM usage) "
        "SELECT who, moment, CASE word WHEN 'Y' THEN 1.0 END AS value FROM read",
        "SELECT who, moment, value FROM (SELECT who, moment, TRY_CAST(u.active AS DOUBLE) AS value FROM usage u)",
    ],
)
def test_sql_that_reads_no_value_of_a_filled_column_is_refused_with_the_column_and_a_value(tmp_path, sql):
    with pytest.raises(InputError, match=r"'value' is missing in every training row, although 'usage\.active', which"):
        tiny(tmp_path, sql).retrieve()


def test_a_feature_of_an_empty_column_is_accepted_although_other_columns_are_filled(tmp_path):
    sql = "SELECT who, moment, CAST(gap AS DOUBLE) AS value, active FROM usage"

    assert tiny(tmp_path, sql, gap=pa.array([None, None], pa.string())).retrieve()["value"].to_pylist() == [None, None]


@pytest.mark.parametrize(
    ("usage", "shown"),
    [
        ({"who": ["A", "B"]}, "such as 'a'; the view has 'A'"),
        ({"moment": [day(11), day(12)]}, "at or before its 'moment'"),
    ],
)
def test_keys_that_never_meet_and_values_that_come_too_late_are_told_apart_from_wrong_sql(tmp_path, usage, shown):
    sql = "SELECT who, moment, CASE active WHEN 'yes' THEN 1.0 ELSE 0.0 END AS value FROM usage"

    with pytest.raises(InputError, match=f"usage.sql computes 2 values: none belongs to .*{shown}"):
        tiny(tmp_path, sql, **usage).retrieve()


def test_a_value_in_one_row_is_enough(tmp_path):
    sql = "SELECT who, moment, CASE active WHEN 'yes' THEN 1.0 END AS value FROM usage"

    assert tiny(tmp_path, sql).retrieve()["value"].to_pylist() == [1.0, None]
