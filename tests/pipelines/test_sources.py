"""The hash of the sources changes with their content and with nothing else, whatever is cached."""

import os
from pathlib import Path
from typing import Any

import pytest

from components.shared.errors import InputError
from components.shared.project import Project
from components.shared.sources import source_hash


def project(**sources: dict[str, Any]) -> Project:
    return Project.model_validate(
        {
            "name": "trial",
            "task": "binary",
            "entity": "id",
            "event_time": "at",
            "sources": sources,
            "label": {"source": next(iter(sources)), "column": "y"},
            "features": {"service": "trial_v1", "columns": {"x": {"type": "numeric"}}},
        }
    )


def write(path: Path, content: str, age_s: int = 60) -> None:
    path.write_text(content)
    moment = path.stat().st_mtime_ns - age_s * 10**9
    os.utime(path, ns=(moment, moment))


@pytest.mark.parametrize("cached", [True, False])
def test_the_hash_follows_the_content(tmp_path: Path, cached: bool) -> None:
    cache = tmp_path / "cache" / "sources.json" if cached else None
    trial = project(table={"path": "table.csv"})
    hashes = []
    for content, age in (("one", 60), ("two", 50), ("one", 40), ("one", 40)):
        write(tmp_path / "table.csv", content, age)
        hashes.append(source_hash(trial, tmp_path, cache))

    assert hashes[0] != hashes[1]
    assert hashes[0] == hashes[2] == hashes[3]


def test_a_file_that_has_just_been_written_is_read_again(tmp_path: Path) -> None:
    trial, cache = project(table={"path": "table.csv"}), tmp_path / "sources.json"
    write(tmp_path / "table.csv", "one", age_s=0)
    status = (tmp_path / "table.csv").stat()
    first = source_hash(trial, tmp_path, cache)
    (tmp_path / "table.csv").write_text("two")
    os.utime(tmp_path / "table.csv", ns=(status.st_atime_ns, status.st_mtime_ns))

    assert source_hash(trial, tmp_path, cache) != first


def test_a_broken_cache_is_no_obstacle(tmp_path: Path) -> None:
    write(tmp_path / "table.csv", "one")
    (tmp_path / "sources.json").write_text("{ half")
    trial = project(table={"path": "table.csv"})

    assert source_hash(trial, tmp_path, tmp_path / "sources.json") == source_hash(trial, tmp_path)


def test_files_that_change_places_change_the_hash(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", "one")
    write(tmp_path / "b.csv", "two")
    there = project(left={"path": "a.csv"}, right={"path": "b.csv"})
    back = project(left={"path": "b.csv"}, right={"path": "a.csv"})

    assert source_hash(there, tmp_path) != source_hash(back, tmp_path)


def test_nobody_knows_the_content_of_a_database(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", "one")
    trial = project(left={"path": "a.csv"}, right={"database": "duckdb:///x.db", "query": "SELECT 1"})

    assert source_hash(trial, tmp_path) is None


def test_a_missing_file_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"the file table\.csv does not exist"):
        source_hash(project(table={"path": "table.csv"}), tmp_path)
