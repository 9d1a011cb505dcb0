"""The shipped example's features are what somebody who stood at the example's time could have counted."""

from datetime import date
from pathlib import Path

import duckdb
import pytest
import yaml

from components.feature_retrieval import logic
from components.shared import bundle
from components.shared.project import Project
from pipelines import simulator
from tests import documents

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """A connection with the tables of a small business and its training set, as views."""
    folder = tmp_path_factory.mktemp("example")
    simulator.write(folder / "snapshot", customers=400, start=date(2024, 1, 1), months=7)
    project = Project.model_validate(yaml.safe_load((ROOT / "project.yaml").read_text(encoding="utf-8")))
    span = ("2024-01-01T00:00:00", "2024-08-01T00:00:00")
    labels = {"rows": 1, "columns": {}, "content_hash": "c" * 64, "time_range": span}
    documents.snapshot(tables={"labels": labels}).write(folder / "snapshot")
    bundled = bundle.write(project, ROOT / "project.yaml", folder)
    logic.retrieve(str(bundled), folder / "snapshot", folder / "training_set")
    with duckdb.connect() as connection:
        for path in (*folder.glob("snapshot/*.parquet"), folder / "training_set" / "rows.parquet"):
            connection.execute(f"CREATE TABLE {path.stem} AS FROM '{path}'")
        yield connection


def differing(connection, feature, by_hand):
    """Count the examples, and those whose feature is not what ``by_hand`` says (correlated with ``r``)."""
    query = f"SELECT count(*), count(*) FILTER (r.{feature} IS DISTINCT FROM ({by_hand})) FROM rows r"
    return connection.execute(query).fetchall()[0]


@pytest.mark.parametrize(
    ("feature", "by_hand"),
    [
        (
            "contacts_90d",
            """SELECT count(*) FROM contacts c WHERE c.customer_id = r.customer_id AND c.known_at <= r.snapshot_at
               AND c.contacted_at > r.snapshot_at - INTERVAL 90 DAY""",
        ),
        (
            "unhappy_90d",
            """SELECT count(*) FROM contacts c WHERE c.customer_id = r.customer_id AND c.known_at <= r.snapshot_at
               AND c.contacted_at > r.snapshot_at - INTERVAL 90 DAY AND c.satisfaction <= 2""",
        ),
        (
            "last_satisfaction",
            """SELECT arg_max(c.satisfaction, c.known_at) FROM contacts c WHERE c.customer_id = r.customer_id
               AND c.known_at <= r.snapshot_at AND c.satisfaction IS NOT NULL""",
        ),
        (
            "contract",
            """SELECT arg_max(p.contract, p.valid_from) FROM profiles p WHERE p.customer_id = r.customer_id
               AND p.valid_from <= r.snapshot_at AND p.known_at <= r.snapshot_at""",
        ),
        (
            "minutes",
            """SELECT arg_max(u.minutes, u.month) FROM usage u WHERE u.customer_id = r.customer_id
               AND u.known_at <= r.snapshot_at AND u.month + INTERVAL 1 MONTH + INTERVAL 70 DAY >= r.snapshot_at""",
        ),
        (
            "tenure_months",
            """SELECT round(date_diff('day', min(p.joined_at), (
                   SELECT max(u.month) + INTERVAL 1 MONTH FROM usage u WHERE u.customer_id = r.customer_id
                   AND u.known_at <= r.snapshot_at AND u.month + INTERVAL 1 MONTH + INTERVAL 70 DAY >= r.snapshot_at
               )) / 30.4, 1) FROM profiles p WHERE p.customer_id = r.customer_id""",
        ),
    ],
)
def test_a_feature_is_what_could_be_counted_at_the_time(answers, feature, by_hand):
    examples, wrong = differing(answers, feature, by_hand)

    assert wrong == 0
    assert examples > 800


def test_counting_without_regard_to_when_it_was_known_gives_something_else(answers):
    by_hand = """SELECT count(*) FROM contacts c WHERE c.customer_id = r.customer_id
                 AND c.contacted_at <= r.snapshot_at AND c.contacted_at > r.snapshot_at - INTERVAL 90 DAY"""

    assert differing(answers, "contacts_90d", by_hand)[1] > 0


def test_the_change_of_usage_is_the_logarithm_against_the_mean_of_the_three_months_before(answers):
    examples, wrong = differing(
        answers,
        "data_change",
        """SELECT round(ln((max(u.data_gb) FILTER (age = 0) + 0.1) / (avg(u.data_gb) FILTER (age > 0) + 0.1)), 4)
           FROM (SELECT data_gb, row_number() OVER (ORDER BY month DESC) - 1 AS age FROM usage u
                 WHERE u.customer_id = r.customer_id AND u.known_at <= r.snapshot_at) u
           WHERE age <= 3 AND r.minutes IS NOT NULL""",
    )

    assert wrong == 0
    assert examples > 800
