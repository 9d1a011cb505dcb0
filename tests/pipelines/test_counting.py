"""The pods that a compiled pipeline is said to take are those that a real server started for it."""

import json

import pytest
import yaml

from pipelines.command.verbs import compile as verb
from pipelines.definitions import compilation, counting
from tests.pipelines.kfp import stubs
from tests.pipelines.kfp.double import FOLDER


def started_pods(recording: str) -> int:
    """Count the pods of the last look at a run that a real server executed."""
    exchanges = json.loads((FOLDER / f"{recording}.json").read_text())
    looks = [entry for entry in exchanges if entry["path"].startswith("/apis/v1beta1/runs/")]
    nodes = json.loads(looks[-1]["body"]["pipeline_runtime"]["workflow_manifest"])["status"]["nodes"]
    return sum(node["type"] == "Pod" for node in nodes.values())


@pytest.mark.parametrize("recording", ["a-promoted-run-ends-with-0", "a-rejected-run-ends-with-3"])
def test_the_count_of_a_pipeline_with_two_branches_is_what_a_server_started(recording):
    (ir,) = compilation.documents(stubs.branches)

    counted = counting.count(ir)

    assert (counted.tasks, counted.conditions) == (4, 2)
    assert counted.pods == started_pods(recording)


def test_an_importer_is_one_pod():
    (with_importer,) = compilation.documents(stubs.bundled)

    # The root's driver, the importer, driver and executor of the one task.
    assert counting.count(with_importer).pods == 4


def test_training_takes_no_more_pods_than_its_budget():
    counted = counting.count(compilation.symbolic("training"))

    assert (counted.tasks, counted.conditions, counted.pods) == (12, 2, 26)


def test_compile_prints_the_count_of_what_it_wrote(tmp_path, capsys):
    verb.write(tmp_path, ["materialization"], None)

    ir = yaml.safe_load((tmp_path / "materialization.yaml").read_text())
    assert capsys.readouterr().out == f"{tmp_path / 'materialization.yaml'}: {counting.count(ir)}\n"
