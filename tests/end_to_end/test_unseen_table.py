"""A table that the project has never seen becomes a served model without editing a file."""

import csv
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

from components.shared import registry
from pipelines.targets.opening import open_backend
from tests.end_to_end.command import PERENNIAL, edit, perennial, records, shell, write_table

README = Path(__file__).parents[2] / "README.md"


def block(heading: str) -> str:
    """Return the first shell block below a heading of the README."""
    section = README.read_text(encoding="utf-8").split(f"\n## {heading}\n")[1]
    return section.split("```\n")[1]


@pytest.fixture(scope="module")
def tour(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The README's own words, on a table of which the project knows nothing."""
    folder = tmp_path_factory.mktemp("tour")
    write_table(folder / "customers.csv")
    return folder / "churn", shell(block("Your own table"), folder)


@pytest.fixture(scope="module")
def released(tour: tuple[Path, str]) -> Path:
    return tour[0]


def test_init_says_what_it_guessed_and_why(tour):
    assert "boolean values Yes and No" in tour[1]
    assert "set with --entity" in tour[1]


def test_the_run_ends_with_the_headline_metrics_and_their_intervals(tour):
    assert "auc" in tour[1] and "95% intervals" in tour[1]
    assert "released version 1" in tour[1]


def test_the_table_is_scored_with_the_spellings_that_it_was_trained_on(tour):
    scored = (tour[0] / "scores.csv").read_text().splitlines()

    assert next(csv.reader(scored))[-3:] == ["score", "decision", "model_version"]
    assert len(scored) == len((tour[0].parent / "customers.csv").read_text().splitlines())
    assert "passed through, but not used" in tour[1] and "'Churn'" in tour[1]
    assert "taken as missing" not in tour[1]


def test_the_python_of_the_readme_runs_in_the_environment_of_the_command(released):
    snippet = README.read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    # The seed of the first run has nothing to do; the features are those of this table.
    snippet = snippet.replace("seed=8", "seed=7").replace('[{"plan": "basic", ...}]', "api.sample(run.model)")
    snippet = snippet.replace("new.csv", "customers.csv")
    python = PERENNIAL.parent / "python"

    done = subprocess.run([python, "-c", snippet], cwd=released.parent, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert (released.parent / "scores.csv").is_file()


def test_the_verbs_of_the_readme_run(released):
    assert "sudden-drift" in shell(block("The verbs"), released)


def test_a_second_run_has_nothing_to_do(released):
    said = perennial("run", cwd=released).stdout
    last = records(released)[-1]

    assert "nothing to do" in said
    assert [step["name"] for step in last["steps"] if not step["cached"]] == ["rejection"]
    assert last["repeats"] == records(released)[0]["id"] and not list(Path(last["folder"], "logs").iterdir())
    assert (Path(last["folder"]) / "report.html").read_text().count("<svg") > 3
    place = open_backend(project=released).state
    assert [int(v.version) for v in registry.versions(registry.open(place.registry_uri), "customers")] == [1]


def test_a_copied_and_then_moved_project_answers_and_has_nothing_to_do(released):
    shutil.copytree(released, released.parent / "copied")
    moved = (released.parent / "copied").rename(released.parent / "moved away")

    assert '"model_version": "1"' in perennial("predict", "--sample", cwd=moved).stdout
    assert "nothing to do" in perennial("run", cwd=moved).stdout
    assert not any(str(path).startswith(f"{released}/") for path in records(moved)[-1]["artifacts"].values())


def test_a_row_is_answered_and_what_was_never_seen_is_flagged(released):
    sample = json.loads(perennial("predict", "--sample", cwd=released).stdout)
    row = sample_row(released) | {"depot": "atlantis"}
    answer = json.loads(perennial("predict", json.dumps(row), cwd=released).stdout)

    assert 0 <= sample["predictions"][0]["score"] <= 1
    assert answer["predictions"][0]["out_of_vocabulary"] == ["depot"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"depot": 3}, "depot"),
        ({"km driven": "far"}, "km driven"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_bad_row_is_refused_by_a_sentence_that_names_the_field(released, change, sentence):
    done = perennial("predict", json.dumps(sample_row(released) | change), cwd=released, expect=2)

    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_the_report_opens_offline(released):
    record = records(released)[0]
    page = (Path(record["folder"]) / "report.html").read_text()

    assert "<svg" in page and 'src="http' not in page and 'href="http' not in page.replace("http://www.w3.org", "")


def test_collecting_garbage_keeps_what_the_release_needs(released):
    perennial("gc", "--keep", "0", cwd=released)

    left = records(released)
    assert len(left) == 1 and left[0]["outputs"]["deployment.Output"] == "released"
    perennial("predict", "--sample", cwd=released)
    perennial("run", cwd=released)


@pytest.fixture
def copy(released: Path, tmp_path: Path) -> Path:
    """The same project without its state: nothing was ever released."""
    shutil.copytree(released, tmp_path / "churn", ignore=shutil.ignore_patterns(".perennial", "compiled"))
    edit(tmp_path / "churn", tuning={"trials": 0})
    return tmp_path / "churn"


def test_a_rejected_candidate_ends_with_3_and_predict_says_why_nothing_answers(copy):
    point_at(copy, released_table(copy))
    edit(copy, gate={"floors": {"auc": 0.999}})
    said = perennial("run", cwd=copy, expect=3).stdout
    asked = perennial("predict", "--sample", cwd=copy, expect=2).stderr

    assert "rejected by the gate" in said and "Go back to" in said
    assert "rejected" in asked and "0.999" in asked


def test_blocked_data_ends_with_4_and_says_what_is_wrong(copy):
    """The schema knows a range of values for the depot that new rows leave."""
    file = copy.parent / "customers.csv"
    file.write_text(released_table(copy).read_text(encoding="utf-8").replace(",Nord,", ",3.5,"), encoding="utf-8")
    point_at(copy, file)
    done = perennial("run", cwd=copy, expect=4)

    assert "depot" in done.stdout
    assert records(copy)[-1]["state"] == "data blocked"


@pytest.mark.parametrize(
    ("database", "query", "code"),
    [("duckdb:///warehouse.duckdb", "SELECT * FROM rented", 0), ("postgresql://127.0.0.1:9/none", "SELECT 1", 2)],
    ids=["a run that releases", "a database that refuses"],
)
def test_a_secret_of_the_environment_is_found_nowhere(copy, database, query, code):
    """Not in the output, logs, compiled pipeline, bundle, registry or report."""
    secret = "s3cr3t-Pässwörd"
    with duckdb.connect(str(copy / "warehouse.duckdb")) as warehouse:
        table = released_table(copy)
        texts = "{'Churn': 'VARCHAR', 'driver smokes': 'VARCHAR'}"
        warehouse.execute(f"CREATE TABLE rented AS FROM read_csv('{table}', nullstr=['', ' '], types={texts})")
    name, source = only_source(copy)
    kept = {key: value for key, value in source.items() if key not in ("path", "null_values")}
    origin = {"database": database, "query": query, "credentials_env": "WAREHOUSE"}
    edit(
        copy,
        sources={name: kept | origin},
        gate={"beat_rule": False, "plain_margin": None, "probability_margin": None, "decision_margin": None},
    )
    done = perennial("run", cwd=copy, expect=code, WAREHOUSE=f"reader:{secret}")

    assert secret not in done.stdout + done.stderr
    files = [path for path in copy.rglob("*") if path.is_file()]
    assert (copy / ".perennial" / "mlflow.db" in files) and any(path.name == "report.html" for path in files)
    assert [path for path in files if secret.encode() in path.read_bytes()] == []


def only_source(project: Path) -> tuple[str, dict[str, Any]]:
    [(name, source)] = yaml.safe_load((project / "project.yaml").read_text(encoding="utf-8"))["sources"].items()
    return name, source


def released_table(project: Path) -> Path:
    """The table of the tour, whichever way the project file names it."""
    return project.parent.parent / "tour0" / "customers.csv"


def point_at(project: Path, table: Path) -> None:
    name, source = only_source(project)
    edit(project, sources={name: source | {"path": str(table)}})


def sample_row(project: Path) -> dict[str, Any]:
    package = next(r["artifacts"]["training.model"] for r in records(project) if "training.model" in r["artifacts"])
    return json.loads((Path(package) / "sample.json").read_text())["rows"][0]


def test_a_registry_without_the_champion_and_an_endpoint_without_the_release_are_noticed(released):
    place = open_backend(project=released).state
    client = registry.open(place.registry_uri)
    registry.move_alias(client, "customers", registry.CHAMPION, None)
    perennial("run", cwd=released)
    without_champion = records(released)[-1]
    shutil.rmtree(place.endpoint)
    perennial("run", cwd=released)
    without_endpoint = records(released)[-1]
    said = perennial("run", cwd=released).stdout

    assert registry.champion(client, "customers") == "1"
    assert without_champion["repeats"] is None and without_champion["outputs"]["deployment.Output"] == "released"
    assert without_endpoint["repeats"] is None and without_endpoint["outputs"]["deployment.Output"] == "released"
    assert "nothing to do" in said and records(released)[-1]["repeats"] == without_endpoint["id"]


def test_no_cache_runs_every_step_of_a_run_with_nothing_to_do(released):
    perennial("run", "--no-cache", cwd=released)

    assert {step["state"] for step in records(released)[-1]["steps"]} == {"done", "skipped"}


def test_versions_and_runs_are_shown_compared_and_reported_with_their_figures(released):
    perennial("run", "--seed", "8", cwd=released)
    first, *_, last = [run["id"] for run in records(released)]
    shown, card = perennial("show", "1", cwd=released).stdout, perennial("show", "1", "--card", cwd=released).stdout
    status = perennial("status", cwd=released).stdout
    compared = perennial("compare", first, last, cwd=released).stdout
    report = perennial("report", last, cwd=released).stdout.strip()

    assert (released / report).parent.name == last and (released / report).is_file()
    assert "1 of customers" in shown and "auc" in shown and "train" in shown
    assert "customers" in card and "Value" in card
    assert "auc 0." in status
    assert "seed" in compared and "test rows" in compared
    assert perennial("show", "9", cwd=released, expect=2).stderr.count("expected one of ['1'") == 1
    assert "the same run" in perennial("compare", first, first, cwd=released, expect=2).stderr
