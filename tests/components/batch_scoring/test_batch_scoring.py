"""Each row is scored exactly once, by the model that answers, whatever interrupts the batch."""

import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.batch_scoring import logic
from components.shared import files
from components.shared.documents.batch_scores import BatchScores
from components.shared.documents.champion import ChampionRecord
from components.shared.errors import InputError
from tests.components import made_candidate
from tests.serving import tiny

ROOT = Path(__file__).resolve().parents[3]
ROWS = 1003
PROJECT = made_candidate.project()


def write_rows(folder: Path, number: int = ROWS) -> Path:
    """Write rows of customers; every seventh has no usage."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    usage = [None if n % 7 == 0 else float(value) for n, value in enumerate(rng.normal(0, 20, number))]
    columns = {
        "customer": [f"c{n}" for n in range(number)],
        "at": pa.array([0] * number, pa.timestamp("us")),
        "usage": pa.array(usage, pa.float64()),
        "active": rng.random(number) < 0.5,
        "plan": rng.choice(["basic", "plus", "other"], number),
    }
    pq.write_table(pa.table(columns), folder / logic.ROWS)
    return folder


def write_champion(folder: Path, task: str = "binary", bias: float = 0.0, version: str | None = "3") -> Path:
    tiny.package(folder / logic.PACKAGE, bias=bias, task=task)
    ChampionRecord(version=version, run_id="r", fingerprint="f").write(folder)
    return folder


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logic, "PART_ROWS", 100)


def scored(done: BatchScores) -> pa.Table:
    return pa.concat_tables(pq.read_table(Path(done.folder) / part.file) for part in done.parts)


def test_every_row_has_the_score_and_the_decision_that_the_server_answers(tmp_path: Path, small_parts: None):
    rows = write_rows(tmp_path / "rows")

    done = logic.score(PROJECT, rows, write_champion(tmp_path / "c"), str(tmp_path / "scores"), tmp_path / "out")

    table, source = scored(done), pq.read_table(rows / logic.ROWS)
    expected = [tiny.score(row) for row in source.to_pylist()]
    assert (done.rows, len(done.parts), done.version) == (ROWS, 11, "3")
    assert table["customer"].equals(source["customer"])
    assert table["score"].to_pylist() == pytest.approx(expected, abs=1e-6)
    assert table["decision"].to_pylist() == ["yes" if score >= tiny.THRESHOLD else "no" for score in expected]
    assert set(table["model_version"].to_pylist()) == {"3"}
    assert BatchScores.read(tmp_path / "out") == done


@pytest.mark.parametrize(
    ("task", "columns"),
    [
        ("multiclass", ["score_up", "score_flat", "score_down", "decision", "model_version"]),
        ("regression", ["score", "model_version"]),
    ],
)
def test_each_task_has_its_own_columns(tmp_path: Path, task: str, columns: list[str]):
    rows, champion = write_rows(tmp_path / "rows"), write_champion(tmp_path / "c", task)

    done = logic.score(PROJECT, rows, champion, "", tmp_path / "out")

    assert scored(done).column_names == ["customer", "at", *columns]
    assert done.folder == str(tmp_path / "out")


def test_the_parts_of_an_earlier_run_are_kept_and_another_model_or_other_rows_have_their_own(
    tmp_path: Path, small_parts: None
):
    rows, champion, place = write_rows(tmp_path / "rows"), write_champion(tmp_path / "c"), str(tmp_path / "scores")
    first = logic.score(PROJECT, rows, champion, place, tmp_path / "out")
    written = {part.file: (Path(first.folder) / part.file).stat().st_mtime_ns for part in first.parts}
    (Path(first.folder) / "part-00004.parquet").unlink()

    again = logic.score(PROJECT, rows, champion, place, tmp_path / "again")
    other = logic.score(PROJECT, rows, write_champion(tmp_path / "other", bias=1.0), place, tmp_path / "other-out")

    assert again == first, "the part that was missing has the same bytes as before"
    unchanged = {name for name in written if (Path(first.folder) / name).stat().st_mtime_ns == written[name]}
    assert unchanged == written.keys() - {"part-00004.parquet"}
    assert other.folder != first.folder


def test_a_batch_that_is_killed_at_any_instant_goes_on_to_the_same_files(tmp_path: Path):
    rows, champion = write_rows(tmp_path / "rows", 20_000), write_champion(tmp_path / "c")
    whole = logic.score(PROJECT, rows, champion, str(tmp_path / "whole"), tmp_path / "out")
    script = (
        "import sys; from pathlib import Path; from components.batch_scoring import logic;"
        "from tests.components import made_candidate as made; logic.PART_ROWS = 500;"
        f"logic.score(made.project(), Path({str(rows)!r}), Path({str(champion)!r}), {str(tmp_path / 'killed')!r},"
        f" Path({str(tmp_path / 'killed-out')!r}))"
    )
    for parts in (1, 6, 15, 30):
        process = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT)
        while len(list((tmp_path / "killed").glob("*/part-*.parquet"))) < parts:
            assert process.poll() is None
        process.kill()
        assert process.wait() == -signal.SIGKILL
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)

    done = BatchScores.read(tmp_path / "killed-out")

    assert (done.rows, len(done.parts)) == (20_000, 40)
    assert all(files.sha256(Path(done.folder) / part.file) == part.sha256 for part in done.parts)
    assert scored(done).equals(scored(whole)), "no row is missing, double, or scored otherwise"


@pytest.mark.parametrize("shards", [2, 3, 20])
def test_shards_of_several_pods_become_the_batch_of_one(tmp_path: Path, small_parts: None, shards: int):
    rows, champion = write_rows(tmp_path / "rows"), write_champion(tmp_path / "c")
    whole = logic.score(PROJECT, rows, champion, "", tmp_path / "whole")
    targets = [tmp_path / f"shard-{number}" for number in range(shards)]
    done = [
        logic.score(PROJECT, rows, champion, "", target, logic.Share(number, shards))
        for number, target in enumerate(targets)
    ]
    written = [SimpleNamespace(path=str(target)) for target in targets]
    collected = logic.score(PROJECT, rows, champion, "", tmp_path / "all", written=written)

    assert sum(shard.rows for shard in done) == ROWS
    assert sorted(part.file for shard in done for part in shard.parts) == [part.file for part in whole.parts]
    assert collected == whole.model_copy(update={"folder": str(tmp_path / "all")})
    assert all(files.sha256(tmp_path / "all" / part.file) == part.sha256 for part in whole.parts)


def test_what_a_shard_lacks_or_has_of_another_model_is_scored_by_the_one_that_collects(
    tmp_path: Path, small_parts: None
):
    rows, champion = write_rows(tmp_path / "rows"), write_champion(tmp_path / "c")
    whole = logic.score(PROJECT, rows, champion, "", tmp_path / "whole")
    other = write_champion(tmp_path / "other", bias=1.0)
    logic.score(PROJECT, rows, champion, "", tmp_path / "first", logic.Share(0, 2))
    logic.score(PROJECT, rows, other, "", tmp_path / "second", logic.Share(1, 2))
    (tmp_path / "first" / "part-00000.parquet").unlink()
    (tmp_path / "first" / "part-00002.parquet").write_bytes(b"damaged")
    written = [SimpleNamespace(path=str(tmp_path / name)) for name in ("first", "second")]
    collected = logic.score(PROJECT, rows, champion, "", tmp_path / "all", written=written)

    assert collected.parts == whole.parts


def test_shards_in_one_folder_share_its_parts_and_only_the_whole_batch_is_listed_there(
    tmp_path: Path, small_parts: None
):
    rows, champion, folder = write_rows(tmp_path / "rows"), write_champion(tmp_path / "c"), str(tmp_path / "scores")
    shard = logic.score(PROJECT, rows, champion, folder, tmp_path / "shard", logic.Share(1, 2))
    listed_early = BatchScores.at(shard.folder).exists()
    written = [SimpleNamespace(path=str(tmp_path / "shard"))]
    whole = logic.score(PROJECT, rows, champion, folder, tmp_path / "all", written=written)

    assert not listed_early
    assert BatchScores.read(Path(whole.folder)) == whole
    assert (whole.rows, whole.folder) == (ROWS, shard.folder)


def test_without_a_release_nothing_is_scored(tmp_path: Path):
    ChampionRecord(version=None, run_id=None, fingerprint=None).write(tmp_path / "c")

    with pytest.raises(InputError, match="nothing has been released yet"):
        logic.score(PROJECT, write_rows(tmp_path / "rows"), tmp_path / "c", "", tmp_path / "out")


def test_features_that_the_project_no_longer_has_are_named(tmp_path: Path):
    rows = write_rows(tmp_path / "rows")
    pq.write_table(pq.read_table(rows / logic.ROWS).drop_columns(["plan"]), rows / logic.ROWS)

    with pytest.raises(InputError, match=r"the rows lack the features \['plan'\], which version 3 of 'tiny' takes"):
        logic.score(PROJECT, rows, write_champion(tmp_path / "c"), "", tmp_path / "out")
