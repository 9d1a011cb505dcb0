"""The quick start of the manual works as it is written: two tables become a served and monitored model."""

import re
import sys
from pathlib import Path

import pytest
import yaml

from components.shared.documents.monitoring import DriftReport, PerformanceReport
from pipelines.images.environments import ROOT
from pipelines.runs import load
from tests.end_to_end.command import edit, perennial, records, serving, shell

PAGE = (ROOT / "docs" / "quickstart.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    return [block for written_in, block in fenced if written_in == language]


def merge(project: Path, section: str) -> None:
    """Merge a block of the page into the project file, two levels deep, as a reader does."""
    file = project / "project.yaml"
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    for name, keys in yaml.safe_load(section).items():
        present = content.setdefault(name, {})
        for key, value in keys.items():
            present[key] = present[key] | value if isinstance(present.get(key), dict) else value
    file.write_text(yaml.safe_dump(content), encoding="utf-8")


@pytest.fixture(scope="module")
def gym(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The project after every edit of the page and its run, and what the run printed."""
    folder = tmp_path_factory.mktemp("quickstart")
    script, view = blocks("python")
    begin, run, *_ = blocks("")
    (folder / "tables.py").write_text(script, encoding="utf-8")
    shell(begin.replace("python3", sys.executable), folder)
    project = folder / "gym"
    for section in blocks("yaml"):
        merge(project, section)
    [query] = blocks("sql")
    (project / "feature_repo" / "sql" / "visits_features.sql").write_text(query, encoding="utf-8")
    features = project / "feature_repo" / "features.py"
    written, _ = features.read_text(encoding="utf-8").split("service = ")
    features.write_text(written + view, encoding="utf-8")
    # The search takes most of the time of a run, and a reader need not change it.
    edit(project, tuning={"trials": 0})
    return project, shell(run, project)


def test_the_run_releases_a_model_of_both_tables(gym):
    project, printed = gym
    [record] = records(project)

    assert "released version 1" in printed and "EUR more than acting on nobody" in printed
    assert "left out: 300 examples whose label is not due yet" in printed
    assert (Path(record["artifacts"]["data_validation.statistics"]) / "visits.pbtxt").is_file()


def test_the_sections_that_the_page_names_are_in_the_report(gym):
    project, _ = gym
    report = (Path(records(project)[0]["folder"]) / "report.html").read_text(encoding="utf-8")
    [table] = re.findall(r"^\| section of the report .*?\n\n", PAGE, re.DOTALL | re.MULTILINE)
    sections = re.findall(r"^\| (\w+) \|", table, re.MULTILINE)

    assert len(sections) == 5
    assert [section for section in sections if f">{section}</h2>" not in report] == []


def test_requests_and_labels_of_later_months_are_monitored(gym):
    project, _ = gym
    _, _, serve, monitor = blocks("")
    with serving(project, "1"):
        shell(serve, project)
    shell(monitor, project)
    run = load(max((project / ".perennial" / "runs").iterdir()) / "run.json")

    assert DriftReport.read(run.artifacts["drift.report"]).rows == 300
    assert sum(day.labeled for day in PerformanceReport.read(run.artifacts["performance.report"]).periods) == 300


def test_a_table_is_scored_without_a_server(gym):
    project, _ = gym
    perennial("predict", "--table", "../requests.csv", "--out", "scores.csv", cwd=project)

    assert len((project / "scores.csv").read_text().splitlines()) == 601
