"""Tables as people have them go from a file to scores without an edit, and drift does not cost a good champion."""

import csv
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from components.shared.documents.evaluation import EvaluationReport
from tests.end_to_end.command import perennial, records

HALF_HOUR = timedelta(minutes=30)


def write(path: Path, names: Sequence[str], rows: Iterable[Sequence[object]], delimiter: str = ",") -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream, delimiter=delimiter).writerows([names, *rows])


def evaluation(project: Path) -> EvaluationReport:
    """Read what the newest run measured."""
    return EvaluationReport.read(project / ".perennial" / records(project)[-1]["artifacts"]["evaluation.report"])


def scored(project: Path, table: str) -> dict[str, int]:
    """Score the table of the project and return the number of rows of each decision."""
    perennial("predict", "--table", f"../{table}", "--out", "scores.csv", cwd=project)
    with (project / "scores.csv").open(newline="", encoding="utf-8") as stream:
        return dict(Counter(row["decision"] for row in csv.DictReader(stream)))


def test_a_table_like_that_of_the_titanic_is_released_with_what_identifies_a_person_left_out(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    rows = []
    for number in range(891):
        woman, level = random.random() < 0.35, int(random.choice([1, 2, 3], p=[0.24, 0.21, 0.55]))
        age = max(0.5, random.normal(30, 14))
        survived = random.random() < 1 / (1 + np.exp(1.6 - 2.6 * woman - 0.9 * (3 - level) + 0.02 * (age - 30)))
        rows.append(
            [
                number + 1,
                int(survived),
                level,
                f"Doe, Mr. John {number}",
                "female" if woman else "male",
                "NA" if random.random() < 0.2 else f"{age:.1f}",
                f"A/{number % 600} {random.integers(1000, 9999)}",
                f"£{random.lognormal(2.9, 0.6):.2f}",
                "" if random.random() < 0.77 else f"C{random.integers(1, 60)}",
                random.choice([" S", " C", " Q", "?"], p=[0.7, 0.19, 0.1, 0.01]),
            ]
        )
    names = ["PassengerId", "Survived", "Pclass", "Name", "Sex", "Age", "Ticket", "Fare", "Cabin", "Embarked"]
    write(tmp_path / "titanic.csv", names, rows)
    said = perennial("init", "titanic.csv", "--label", "Survived", "--out", "titanic", cwd=tmp_path).stdout
    perennial("run", cwd=tmp_path / "titanic")
    measured = evaluation(tmp_path / "titanic")

    assert "'NA' means that a value is missing, as in Age" in said
    features = {each.column for each in measured.distributions}
    assert features == {"Pclass", "Sex", "Age", "Fare", "Cabin", "Embarked"}
    auc = measured.metrics["auc"]
    assert auc.low is not None and auc.low > 0.7
    decisions = scored(tmp_path / "titanic", "titanic.csv")
    assert sum(decisions.values()) == 891
    assert 0.3 < decisions["1"] / 891 < 0.6


def test_a_table_like_that_of_wines_is_released_although_two_classes_are_too_rare_to_judge(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    x = random.normal(size=(4000, 5))
    taste = x @ [0.9, 0.5, -0.4, 0.0, 0.0] + random.normal(size=4000) * 0.9
    classes = 3 + np.searchsorted(np.quantile(taste, [0.004, 0.037, 0.335, 0.783, 0.963, 0.999]), taste)
    names = ["fixed acidity", "volatile acidity", "residual sugar", "pH", "alcohol", "quality"]
    rows = [[*(f"{value:.3f}" for value in row), number] for row, number in zip(x, classes, strict=True)]
    write(tmp_path / "wine.csv", names, rows, delimiter=";")
    perennial("init", "wine.csv", "--label", "quality", "--out", "wine", cwd=tmp_path)
    said = perennial("run", cwd=tmp_path / "wine").stdout

    assert "too few to be judged: '3' and '9'" in said
    assert "released version 1" in said
    decisions = scored(tmp_path / "wine", "wine.csv")
    assert sum(decisions.values()) == 4000 and len(decisions) >= 4


def prices(start: int, rows: int, level: float, seed: int) -> list[list[object]]:
    """Return half-hourly prices that rise more often on a higher level; what makes them rise stays the same."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(rows, 3))
    rises = random.random(rows) < 1 / (1 + np.exp(-(2 * x[:, 0] - x[:, 1] + level)))
    return [
        [
            (datetime(2023, 1, 1) + (start + n) * HALF_HOUR).isoformat(),
            *map("{:.4f}".format, row),
            "UP" if up else "DOWN",
        ]
        for n, (row, up) in enumerate(zip(x, rises, strict=True))
    ]


@pytest.fixture(scope="module")
def electricity(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A champion of calm times, and a candidate that learned from a time of high prices, which is over."""
    folder = tmp_path_factory.mktemp("prices")
    names = ["at", "price", "demand", "transfer", "class"]
    calm, high, again = prices(0, 3000, -0.5, 1), prices(3000, 5000, 2.5, 2), prices(8000, 2000, -0.5, 3)
    write(folder / "prices.csv", names, calm)
    perennial("init", "prices.csv", "--label", "class", "--time", "at", "--out", "market", cwd=folder)
    perennial("run", cwd=folder / "market")
    write(folder / "prices.csv", names, [*calm, *high, *again])
    return folder / "market", perennial("run", cwd=folder / "market", expect=3).stdout


def test_a_candidate_that_ranks_as_well_and_decides_worse_does_not_replace_the_champion(electricity) -> None:
    project, said = electricity
    measured = evaluation(project)
    champion = measured.baselines.champion
    assert champion is not None

    def gained(metric: str) -> float:
        return float(measured.metrics[metric].value or 0) - float(champion[metric] or 0)

    assert "version 1 stays the champion" in said
    assert abs(gained("auc")) < 0.01
    assert gained("accuracy") < -0.1 and gained("log_loss") > 0.1


def test_the_reasons_name_the_probabilities_and_the_decisions(electricity) -> None:
    _, said = electricity

    assert "`champion probabilities`: log_loss" in said and "`champion decisions`: accuracy" in said
    assert "`champion`:" not in said


def test_the_champion_goes_on_answering(electricity) -> None:
    project, _ = electricity

    assert '"model_version": "1"' in perennial("predict", "--sample", cwd=project).stdout
