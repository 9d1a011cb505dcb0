"""The access log has a line per request and none of its features; no log fills a disk, and a full one stops nothing."""

import http.client
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import grpc
import prometheus_client
import pytest
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub

from components.shared import inference
from pipelines.targets.local import endpoint as local
from serving.access_log import Access, AccessLog
from tests.serving import tiny
from tests.serving.test_protocols import grpc_request
from tests.serving.test_rollout import PYTHON, ROOT, until

ONE = Access(0, "id", "v1", "tiny", "1", 200, "", 1, 100, 0.001)


def dropped(log: str) -> float:
    return prometheus_client.REGISTRY.get_sample_value("perennial_dropped_log_lines_total", {"log": log}) or 0.0


def test_every_request_has_a_line_whether_answered_or_refused(tmp_path: Path):
    path = tmp_path / "access.log"
    secret = "a plan that nobody else has"
    with local.start(
        tiny.released(tmp_path), python=PYTHON, source=ROOT, options=["--access-log", str(path)]
    ) as running:
        url = running.server.rest_url
        row = tiny.SAMPLE[0] | {"plan": secret}
        inference.predict(url, tiny.NAME, [row, row], request_id="answered", entity=["person 1", "person 2"])
        inference.call(url, f"/v1/models/{tiny.NAME}:predict", body=b"[", request_id="refused")
        inference.call(url, "/v2/models/other/infer", body=b"{}", request_id="elsewhere")
        with grpc.insecure_channel(running.server.grpc_address) as channel:
            GRPCInferenceServiceStub(channel).ModelInfer(grpc_request(), timeout=10)
        inference.call(url, "/v2/health/live")
    lines = [json.loads(line) for line in path.read_text().splitlines()]

    shown = [(e["id"], e["protocol"], e["model"], e["release"], e["status"], e["reason"], e["rows"]) for e in lines]
    assert shown == [
        ("answered", "v1", tiny.NAME, "1", 200, "", 2),
        ("refused", "v1", tiny.NAME, "", 400, "json", 0),
        ("elsewhere", "v2", "other", "", 404, "unknown_model", 0),
        ("q9", "grpc", tiny.NAME, "1", 200, "", 4),
    ]
    assert all(0 < entry["ms"] < 60_000 and entry["time"].endswith("Z") for entry in lines)
    assert [entry["bytes"] for entry in lines][1:3] == [1, 2]
    assert secret not in path.read_text() and "person" not in path.read_text()


def test_without_the_option_there_is_no_access_log(running: local.Running):
    assert not (running.endpoint / local.ACCESS_LOG).exists()


def test_the_access_log_is_rotated_by_size_and_loses_no_line(tmp_path: Path):
    path = tmp_path / "access.log"
    log = AccessLog(path, most_bytes=2000, keep=100, flush_s=0.001)
    for number in range(500):
        log.append(ONE._replace(request_id=str(number)))
        if number % 10 == 0:
            time.sleep(0.002)
    log.close()
    files = sorted(tmp_path.iterdir())
    ids = {json.loads(line)["id"] for file in files for line in file.read_text().splitlines()}

    assert ids == {str(number) for number in range(500)}
    assert len(files) > 5
    assert max(file.stat().st_size for file in files) < 2000 + 500 * len(ONE.line())


def test_only_so_many_former_files_are_kept(tmp_path: Path):
    log = AccessLog(tmp_path / "access.log", most_bytes=1, keep=2, flush_s=0.001)
    for _ in range(20):
        log.append(ONE)
        time.sleep(0.005)
    log.close()

    assert {file.name for file in tmp_path.iterdir()} <= {"access.log", "access.log.1", "access.log.2"}


def test_a_full_disk_costs_lines_which_are_counted_and_no_answer(tmp_path: Path):
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    options = ["--access-log", "/dev/full", "--log-dir", str(tmp_path / "log")]
    with local.start(tiny.released(tmp_path), python=PYTHON, source=ROOT, options=options) as running:
        for _ in range(3):
            assert inference.predict(running.server.rest_url, tiny.NAME, tiny.SAMPLE)["model_version"] == "1"
            time.sleep(0.3)
        until(lambda: b'perennial_dropped_log_lines_total{log="access"} 3.0' in metrics(running))

    said = (running.endpoint / local.LOG).read_text()
    assert said.count("the access log cannot be written (No space left on device)") == 1
    assert "Traceback" not in said


def test_lines_that_a_nearly_full_disk_takes_in_part_are_counted_and_the_next_ones_are_whole(tmp_path: Path):
    program = (
        "import pathlib, resource, signal, sys, prometheus_client\n"
        "from serving.access_log import AccessLog\n"
        "from tests.serving.test_logs import ONE\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2 * len(ONE.line()) + 10, hard))\n"
        "log = AccessLog(pathlib.Path(sys.argv[1]), flush_s=1000)\n"
        "for _ in range(5): log.append(ONE)\n"
        "log.flush()\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))\n"
        "log.append(ONE)\n"
        "log.flush()\n"
        "labels = {'log': 'access'}\n"
        "print(prometheus_client.REGISTRY.get_sample_value('perennial_dropped_log_lines_total', labels))\n"
    )
    path = tmp_path / "access.log"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], env=environment, capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "3.0", done.stderr
    lines = path.read_bytes().splitlines()
    assert [lines[number] + b"\n" for number in (0, 1, 3)] == [ONE.line()] * 3
    assert lines[2] == ONE.line()[:10]


def metrics(running: local.Running) -> bytes:
    connection = http.client.HTTPConnection(running.server.rest_url.removeprefix("http://"), timeout=10)
    connection.request("GET", "/metrics")
    return connection.getresponse().read()


def test_more_lines_than_memory_is_meant_for_are_dropped_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("serving.access_log._MOST_WAITING", 10)
    before = dropped("access")
    log = AccessLog(tmp_path / "access.log", flush_s=60)
    for _ in range(25):
        log.append(ONE)
    log.close()

    assert dropped("access") == before + 15
    assert len((tmp_path / "access.log").read_text().splitlines()) == 10


def test_the_servers_log_is_rotated_and_a_crash_is_still_in_it(tmp_path: Path):
    program = (
        "import logging, os, pathlib, sys\n"
        "from serving.server_log import ServerLog\n"
        "logging.basicConfig(level='INFO', handlers=[ServerLog(pathlib.Path(sys.argv[1]), most_bytes=500, keep=2)])\n"
        "for number in range(100): logging.info('line %d', number)\n"
        "os.write(2, b'the last words')\n"
    )
    path = tmp_path / "server.log"
    subprocess.run([sys.executable, "-c", program, str(path)], env=os.environ | {"PYTHONPATH": str(ROOT)}, check=True)

    assert path.read_text().endswith("the last words")
    assert {file.name for file in tmp_path.iterdir()} == {"server.log", "server.log.1", "server.log.2"}
    assert max(file.stat().st_size for file in tmp_path.iterdir()) <= 500 + len("the last words")


def test_a_line_of_the_servers_log_that_a_full_disk_does_not_take_is_counted():
    program = (
        "import logging, pathlib, sys, prometheus_client\n"
        "from serving.server_log import ServerLog\n"
        "logging.basicConfig(level='INFO', handlers=[ServerLog(pathlib.Path('/dev/full'))])\n"
        "logging.info('lost'); logging.info('lost, too')\n"
        "labels = {'log': 'server'}\n"
        "value = prometheus_client.REGISTRY.get_sample_value('perennial_dropped_log_lines_total', labels)\n"
        "sys.exit(int(value or 0))\n"
    )
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    done = subprocess.run([sys.executable, "-c", program], env=os.environ | {"PYTHONPATH": str(ROOT)})

    assert done.returncode == 2


def test_the_name_of_a_model_that_a_client_made_up_does_not_fill_the_access_log(tmp_path: Path):
    path = tmp_path / "access.log"
    options = ["--access-log", str(path)]
    with local.start(tiny.released(tmp_path), python=PYTHON, source=ROOT, options=options) as running:
        request = grpc_request()
        request.model_name = "x" * 5_000_000
        with grpc.insecure_channel(running.server.grpc_address) as channel, pytest.raises(grpc.RpcError):
            GRPCInferenceServiceStub(channel).ModelInfer(request, timeout=10)

    [line] = path.read_text().splitlines()
    assert len(line) < 1000 and json.loads(line)["reason"] == "unknown_model"


def test_a_disk_that_is_full_at_the_start_is_one_sentence(tmp_path: Path):
    program = (
        "import pathlib, sys\n"
        "from components.shared.errors import StepFailed\n"
        "from pipelines.targets.local import endpoint\n"
        "folder = pathlib.Path(sys.argv[1]) / 'endpoint'\n"
        "folder.mkdir()\n"
        "try:\n"
        "    with open(folder / 'filling', 'wb', buffering=0) as filling:\n"
        "        while True: filling.write(bytes(4096))\n"
        "except OSError: pass\n"
        "try:\n"
        "    endpoint.start(folder, python=pathlib.Path(sys.executable), source=pathlib.Path(sys.argv[2]))\n"
        "except StepFailed as reason: print(reason, int(reason.exit_code))\n"
    )
    (tmp_path / "program.py").write_text(program)
    (tmp_path / "disk").mkdir()
    script = 'mount -t tmpfs -o size=300k none "$1" || exit 77; exec "$2" "$3" "$1" "$4"'
    arguments = map(str, (tmp_path / "disk", PYTHON, tmp_path / "program.py", ROOT))
    command = ["unshare", "--mount", "sh", "-c", script, "sh", *arguments]
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip("this user may not mount a small disk")

    assert done.stdout.startswith("the disk is full; free some space") and done.stdout.strip().endswith(" 5"), done
