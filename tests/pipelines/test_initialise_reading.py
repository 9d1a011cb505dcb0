"""Values of other formats are recognised, read by SQL in the project file, and told; codes stay what they are."""

import re
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from components.ingestion import logic
from components.shared.errors import InputError
from components.shared.project import Project
from pipelines.project import initialise, project_file
from tests.pipelines.test_initialise import guess, table, taken

ROWS = 240


def repeated(*values: Any) -> list[Any]:
    """Return the values, again and again; the label of ``table`` has another period."""
    return [values[n % len(values)] for n in range(ROWS)]


def read(folder: Path, column: str, count: int) -> list[Any]:
    """Ingest the written project and return the first values of a column."""
    project = project_file.read(folder / "project")
    logic.ingest(project, str(folder / "project"), folder / "snapshot")
    return pq.read_table(folder / "snapshot" / "rows.parquet")[column].to_pylist()[:count]


def notes(found: initialise.Guess) -> str:
    return "\n".join(found.notes)


@pytest.mark.parametrize(
    ("texts", "numbers"),
    [
        (["1.234,50", "7,5", "-1.000.000", "12"], [1234.5, 7.5, -1e6, 12]),
        (["$1,234.50", "$7.50", "-$12", "$0"], [1234.5, 7.5, -12, 0]),
        (["(4.50)", "4.50", "(1,000)", "+3"], [-4.5, 4.5, -1000, 3]),
        (["37 %", "4.5%", "-1 %", "100 %"], [37, 4.5, -1, 100]),
        (["1'234.50 CHF", "7 CHF", "12 CHF", "3.5 CHF"], [1234.5, 7, 12, 3.5]),
        (["EUR 1.234,50", "EUR 7", "-5 EUR", "EUR 0,01"], [1234.5, 7, -5, 0.01]),
        (["12 kg", "1,200 kg", "3.5 kg", "7 kg"], [12, 1200, 3.5, 7]),
        (["1 234 567,5", "12", "7,25", "1 000"], [1234567.5, 12, 7.25, 1000]),
    ],
)
def test_numbers_written_for_people_become_numbers(tmp_path: Path, texts: list[str], numbers: list[float]) -> None:
    found = guess(tmp_path, table(c=repeated(*texts)))

    assert taken(found, "c") == "numeric"
    assert read(tmp_path, "c", 4) == numbers


@pytest.mark.parametrize(
    "codes",
    [
        ["1E2", "10E1", "2E5", "7"],
        ["A12", "A13", "A14", "A15"],
        ["12 A", "13 B", "14 C", "15 A"],
        ["007", "012", "1.234,5", "8"],
        ["10.0.0.1", "10.0.1.1", "10.0.2.1", "1.1.1.1"],
        ["2-3", "4-5", "10-20", "1-2"],
        ["1.2.10", "2.3.11", "10.0.12", "3.1.9"],
        ["$5", "\u20ac6", "$7.50", "\u20ac8"],
    ],
    ids=lambda codes: codes[0],
)
def test_what_only_looks_like_a_number_stays_text(tmp_path: Path, codes: list[str]) -> None:
    found = guess(tmp_path, table(c=repeated(*codes)))

    assert taken(found, "c") == "categorical"
    assert read(tmp_path, "c", 4) == codes


def test_numbers_of_two_currencies_are_told_as_such(tmp_path: Path) -> None:
    assert "units $, \u20ac" in notes(guess(tmp_path, table(c=repeated("$5", "\u20ac6", "$7.50", "$8"))))


def test_a_thousand_among_small_numbers_is_not_lost(tmp_path: Path) -> None:
    values = ["1,250" if n == 100 else str(n % 50) for n in range(ROWS)]
    guess(tmp_path, table(c=values))

    assert read(tmp_path, "c", ROWS)[100] == 1250


def test_a_number_of_another_format_in_new_rows_is_missing_and_not_another_number(tmp_path: Path) -> None:
    guess(tmp_path, table(c=repeated("1.234,50", "7,5", "12", "5")))
    text = (tmp_path / "rows.csv").read_text()
    (tmp_path / "rows.csv").write_text(text.replace('"7,5"', "7.5"))

    assert read(tmp_path, "c", 4) == [1234.5, None, 12, 5]


@pytest.mark.parametrize(
    ("texts", "times"),
    [
        (
            ["31.12.2023", "1.2.2024", "15.03.2024"],
            [datetime(2023, 12, 31), datetime(2024, 2, 1), datetime(2024, 3, 15)],
        ),
        (["01/15/2024", "12/1/2023", "2/3/2024"], [datetime(2024, 1, 15), datetime(2023, 12, 1), datetime(2024, 2, 3)]),
        (["15/01/2024", "1/12/2023", "3/2/2024"], [datetime(2024, 1, 15), datetime(2023, 12, 1), datetime(2024, 2, 3)]),
        (
            ["31.12.2023 23:05", "01.02.2024", "15.03.2024 7:00"],
            [datetime(2023, 12, 31, 23, 5), datetime(2024, 2, 1), datetime(2024, 3, 15, 7)],
        ),
        (["1/31/2024 5:07 PM", "2/1/2024 12:00 AM"], [datetime(2024, 1, 31, 17, 7), datetime(2024, 2, 1)]),
        (["5 Mar 2024", "17 Jan 2023"], [datetime(2024, 3, 5), datetime(2023, 1, 17)]),
        (["20240115", "20231231", "20240301"], [datetime(2024, 1, 15), datetime(2023, 12, 31), datetime(2024, 3, 1)]),
        (["31.12.23", "01.02.24"], [datetime(2023, 12, 31), datetime(2024, 2, 1)]),
    ],
    ids=lambda values: str(values[0]),
)
def test_dates_that_are_not_iso_become_times(tmp_path: Path, texts: list[str], times: list[datetime]) -> None:
    found = guess(tmp_path, table(c=[texts[n // 7 % len(texts)] for n in range(ROWS)]))

    assert taken(found, "c") == "numeric"
    assert read(tmp_path, "c", 7 * len(texts))[::7] == times


@pytest.mark.parametrize(
    ("texts", "first"),
    [
        (["31.12.2023", "1.2.2024"], datetime(2023, 12, 31)),
        (["20231231", "20240201"], datetime(2023, 12, 31)),
        (["2019", "2020"], datetime(2019, 1, 1)),
        (["1900", "2200"], datetime(1900, 1, 1)),
        (["1700000000", "1700086400"], datetime(2023, 11, 14, 22, 13, 20)),
        (["1700000000000", "1700086400000"], datetime(2023, 11, 14, 22, 13, 20)),
    ],
    ids=lambda value: str(value[0]) if isinstance(value, list) else "",
)
def test_an_event_time_may_be_written_so_too_or_as_a_year_or_unix_time(
    tmp_path: Path, texts: list[str], first: datetime
) -> None:
    guess(tmp_path, table(t=[texts[n * 2 // ROWS] for n in range(ROWS)]), time="t")

    assert read(tmp_path, "t", 1) == [first]


def test_an_ambiguous_order_of_day_and_month_follows_another_column_or_is_asked_about(tmp_path: Path) -> None:
    ambiguous = repeated("1/2/2024", "3/4/2024")
    for name in ("alone", "beside"):
        (tmp_path / name).mkdir()
    alone = guess(tmp_path / "alone", table(c=ambiguous))
    beside = guess(tmp_path / "beside", table(c=ambiguous, d=repeated("15/02/2024", "3/4/2024")))

    assert "Check 'c': every date could have day and month exchanged" in notes(alone)
    assert read(tmp_path / "alone", "c", 1) == [datetime(2024, 1, 2)]
    assert "Check 'c'" not in notes(beside)
    assert read(tmp_path / "beside", "c", 1) == [datetime(2024, 2, 1)]


def test_an_ambiguous_decimal_sign_follows_another_column_or_is_asked_about(tmp_path: Path) -> None:
    for name in ("alone", "beside"):
        (tmp_path / name).mkdir()
    ambiguous = repeated("1,234", "5,678", "900,000")
    alone = guess(tmp_path / "alone", table(c=ambiguous))
    beside = guess(tmp_path / "beside", table(c=ambiguous, d=repeated("1,5", "2,25")))

    assert "Check 'c': '1,234' is read with groups of thousands" in notes(alone)
    assert read(tmp_path / "alone", "c", 2) == [1234, 5678]
    assert "Check 'c'" not in notes(beside)
    assert read(tmp_path / "beside", "c", 2) == [1.234, 5.678]


def test_points_beside_decimal_commas_are_asked_about_where_they_could_separate_thousands(tmp_path: Path) -> None:
    for name in ("beside", "alone"):
        (tmp_path / name).mkdir()
    columns = table(c=repeated("1.234", "5.678", "900.100"), d=repeated("0.5", "1.5", "2000.25"))
    beside = guess(tmp_path / "beside", columns | {"e": repeated("1,5", "2,25")})
    alone = guess(tmp_path / "alone", columns)

    assert "Check 'c': other columns have decimal commas" in notes(beside)
    assert "Check 'd'" not in notes(beside) and "Check" not in notes(alone)


@pytest.mark.parametrize("marker", ["NA", "?", "-", "n/a", "NULL", "unknown"])
def test_a_marker_in_a_quarter_of_the_numbers_is_missing(tmp_path: Path, marker: str) -> None:
    values = [marker if n % 4 == 0 else str(n % 61 / 2) for n in range(ROWS)]
    found = guess(tmp_path, table(c=values))

    assert taken(found, "c") == "numeric"
    assert project_file.read(tmp_path / "project").sources["rows"].null_values == (marker,)
    assert read(tmp_path, "c", 3) == [None, 0.5, 1.0]
    assert f"{marker!r} means that a value is missing, as in c" in notes(found)


def test_a_marker_that_could_be_a_category_elsewhere_is_asked_about(tmp_path: Path) -> None:
    columns = table(income=repeated("NA", "12", "15", "18"), region=repeated("NA", "EU", "Asia"))

    assert "'NA' means that a value is missing, as in income (null_values). Check 'region'" in notes(
        guess(tmp_path, columns)
    )


def test_a_minus_beside_a_plus_is_a_value_and_elsewhere_it_may_be_missing(tmp_path: Path) -> None:
    columns = table(income=repeated("-", "12", "15", "18"), rhesus=repeated("+", "-", "?"))
    columns["y"] = ["+" if y == "yes" else "-" for y in columns["y"]]
    found = guess(tmp_path, columns)

    assert found.target.task == "binary" and set(read(tmp_path, "y", ROWS)) == {"+", "-"}
    assert read(tmp_path, "income", 2) == [None, 12]
    assert read(tmp_path, "rhesus", 3) == ["+", "-", None]
    assert "'-' means that a value is missing in income (convert), and is a value in rhesus" in notes(found)


def test_two_classes_stay_two_although_one_is_spelled_like_a_marker(tmp_path: Path) -> None:
    columns = table()
    columns["y"] = ["null" if y == "yes" else "alternative" for y in columns["y"]]

    assert guess(tmp_path, columns).target.task == "binary"


@pytest.mark.parametrize(
    "keys",
    [
        [f"{'abAB'[n % 4]}{n % 3}" for n in range(ROWS)],
        ["NA", *(f"c{n}" for n in range(1, ROWS))],
        [f"{n},{n:03d}" for n in range(1, ROWS + 1)],
        [f"{1 + n % 28:02d}.{1 + n // 28:02d}.2024" for n in range(ROWS)],
    ],
    ids=["case", "marker", "groups", "dates"],
)
def test_keys_are_never_changed(tmp_path: Path, keys: list[str]) -> None:
    day = [f"2024-01-{1 + n // 12:02d}" for n in range(ROWS)]
    guess(tmp_path, table(who=keys, day=day, amount=repeated("NA", "1.5", "2", "3")), entity="who", time="day")

    assert read(tmp_path, "who", ROWS) == keys
    assert read(tmp_path, "amount", 2) == [None, 1.5]


def test_whole_keys_that_look_like_dates_stay_numbers(tmp_path: Path) -> None:
    keys = [20240101 + n % 28 + n // 28 * 100 for n in range(ROWS)]
    guess(tmp_path, table(who=keys), entity="who")

    assert read(tmp_path, "who", ROWS) == keys


def test_words_among_categories_stay_categories_and_nan_does_not(tmp_path: Path) -> None:
    guess(tmp_path, table(c=repeated("none", "NA", "some"), d=repeated("nan", "a", "b", "a", "b")))

    assert read(tmp_path, "c", 3) == ["none", "NA", "some"]
    assert read(tmp_path, "d", 3) == [None, "a", "b"]


def test_spellings_of_a_label_and_repeated_headers_make_no_third_class(tmp_path: Path) -> None:
    columns = table()
    columns["y"] = [["Yes", "yes", "Yes "][n % 3] if n % 2 else ["No", "NO", "no\t"][n % 3] for n in range(ROWS)]
    columns["x"][100], columns["y"][100] = "x", "y"
    found = guess(tmp_path, columns)

    assert found.target.task == "binary" and found.target.positive == "Yes"
    assert set(read(tmp_path, "y", ROWS)) == {"Yes", "No"}
    assert "Rows that repeat the header are left out: 1." in notes(found)
    assert "'y' spells one value in several ways" in notes(found)


def test_categories_that_differ_in_case_or_composition_are_one_and_single_letters_are_not(tmp_path: Path) -> None:
    found = guess(
        tmp_path, table(c=repeated("Z\u00fcrich", "Zu\u0308rich", "z\u00fcrich", "Bern"), d=repeated("m", "M", "f"))
    )

    assert found.table()[1][:2] == ("c", "categorical") and "2 categories" in found.table()[1][2]
    assert set(read(tmp_path, "c", 4)) == {"Z\u00fcrich", "Bern"}
    assert set(read(tmp_path, "d", 3)) == {"m", "M", "f"}


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("Unnamed: 0", [n * 37 % ROWS * 3 + 1000 for n in range(ROWS)]),
        ("__index_level_0__", [n * 37 % ROWS * 3 + 1000 for n in range(ROWS)]),
        ("", list(range(ROWS))),
        ("a", [n * 37 % ROWS for n in range(ROWS)]),
        ("b", [n * 37 % ROWS + 1 for n in range(ROWS)]),
        ("c", [n * 5 // 3 + 1000 for n in range(ROWS)]),
    ],
)
def test_a_leftover_row_index_is_left_out(tmp_path: Path, name: str, values: list[int]) -> None:
    found = guess(tmp_path, {name: values} | table())

    assert taken(found, name or "Unnamed: 0") == "left out"
    assert "a row number" in found.table()[0][2]


def test_numbers_that_repeat_or_stand_far_apart_are_no_row_index(tmp_path: Path) -> None:
    columns = {"day": [n // 2 for n in range(ROWS)], "size": [n * n * 100 for n in range(ROWS)]}
    columns |= {"area": [500 + 12 * n for n in range(ROWS)], "_c0": [n * 7 % 50 for n in range(ROWS)]}
    found = guess(tmp_path, table(**columns))

    assert [taken(found, name) for name in columns] == ["numeric"] * 4


@pytest.mark.parametrize(
    ("filled", "said"),
    [
        (lambda n: n % 3 == 2, "filled exactly where y is 'yes' (80 rows): it gives the answer away"),
        (lambda n: n % 6 == 2, "filled only where y is 'yes' (40 rows): it gives the answer away"),
        (lambda n: n % 3 != 2, "filled exactly where y is 'no' (160 rows): it gives the answer away"),
    ],
)
def test_a_column_that_is_filled_for_one_class_only_gives_the_answer_away(
    tmp_path: Path, filled: Any, said: str
) -> None:
    found = guess(tmp_path, table(c=[["price", "moved"][n % 2] if filled(n) else "" for n in range(ROWS)]))

    assert ("c", "left out", said) in found.table()


def test_a_few_values_that_happen_to_be_in_one_class_are_no_leak(tmp_path: Path) -> None:
    found = guess(tmp_path, table(c=[str(n) if n % 3 == 0 and n < 36 else "" for n in range(ROWS)]))

    assert taken(found, "c") == "numeric"


def test_a_label_in_another_unit_is_left_out(tmp_path: Path) -> None:
    prices = [100 + n * 7 % 61 / 2 for n in range(ROWS)]
    found = guess(tmp_path, {"x": repeated(1, 2, 3), "cents": [price * 100 for price in prices], "y": prices})

    assert ("cents", "left out", "the label in another unit: it would leak the label") in found.table()


def test_a_few_values_that_happen_to_lie_on_a_line_are_not_the_label(tmp_path: Path) -> None:
    prices = [100 + n * 7 % 61 / 2 for n in range(ROWS)]
    rare = [price if n < 2 else "" for n, price in enumerate(prices)]
    found = guess(tmp_path, {"x": repeated(1, 2, 3), "rare": rare, "y": prices})

    assert taken(found, "rare") == "numeric"


def test_integers_with_few_values_get_a_hint_and_become_categories_on_demand(tmp_path: Path) -> None:
    for name in ("hint", "told"):
        (tmp_path / name).mkdir()
    columns = table(browser=repeated(1, 2, 3, 4, 5, 6, 7))
    hint = guess(tmp_path / "hint", columns)
    told = guess(tmp_path / "told", columns, categorical=["browser"])

    assert ("browser", "numeric", "7 different numbers; if they are codes without an order, use --categorical") in (
        hint.table()
    )
    assert ("browser", "categorical", "7 categories") in told.table()


def drifting() -> dict[str, list[Any]]:
    """Make a table in the order of time, whose label becomes more frequent."""
    random = np.random.default_rng(5)
    positive = random.random(1000) < np.linspace(0.05, 0.5, 1000)
    return {"x": random.random(1000).round(3).tolist(), "y": ["yes" if each else "no" for each in positive]}


def test_rows_that_seem_to_be_in_the_order_of_time_get_a_remark(tmp_path: Path) -> None:
    found = guess(tmp_path, drifting())

    assert found.split == "random"
    assert re.search(
        r"the share of 'yes' is 1?\d\.\d% in the first fifth and 4\d\.\d% in the last.*--in-time-order", notes(found)
    )


@pytest.mark.parametrize("order", ["shuffled", "sorted by the label"])
def test_rows_in_another_order_get_no_remark(tmp_path: Path, order: str) -> None:
    columns = drifting()
    keys = (
        np.random.default_rng(6).random(1000) if order == "shuffled" else np.array([y == "yes" for y in columns["y"]])
    )
    rows = np.argsort(keys, kind="stable")
    found = guess(tmp_path, {name: [values[row] for row in rows] for name, values in columns.items()})

    assert "order of time" not in notes(found)


def test_rows_that_are_declared_to_be_in_the_order_of_time_are_split_by_it(tmp_path: Path) -> None:
    found = guess(tmp_path, drifting(), in_time_order=True)
    times = read(tmp_path, "event_time", 1000)

    assert found.split == project_file.read(tmp_path / "project").split.method == "time"
    assert times[0] == datetime(2020, 1, 1) and times == sorted(set(times))
    assert "order of time" not in notes(found)


def test_an_order_beside_a_time_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--in-time-order says nothing more"):
        guess(tmp_path, table(t=repeated("2024-01-01", "2024-01-02")), time="t", in_time_order=True)


def test_the_example_of_the_documentation_is_read_as_it_says(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "tables.md").read_text(encoding="utf-8")
    example, declared = (re.findall(rf"```{kind}\n(.*?)```", page, re.DOTALL)[0] for kind in ("csv", "yaml"))
    told = page.split("\nas\n\n")[1].split("\n\n")[0].splitlines()
    (tmp_path / "sales.csv").write_text(example, encoding="utf-8")
    project = Project.model_validate(
        {
            "name": "sales",
            "task": "binary",
            "entity": "kunde",
            "event_time": "datum",
            "sources": {"sales": {"path": "sales.csv"} | yaml.safe_load(declared)},
            "label": {"source": "sales", "column": "gekauft"},
            "features": {"service": "sales_v1", "columns": {"umsatz": {"type": "numeric"}}},
        }
    )
    logic.ingest(project, str(tmp_path), tmp_path / "snapshot")
    rows = pq.read_table(tmp_path / "snapshot" / "sales.parquet").to_pylist()

    shown = [
        ["" if v is None else f"{v:%Y-%m-%d}" if isinstance(v, datetime) else str(v) for v in r.values()] for r in rows
    ]
    assert [[cell.strip() for cell in line.strip("|").split("|")] for line in told[2:]] == shown
    assert [cell.strip() for cell in told[0].strip("|").split("|")] == list(rows[0])
