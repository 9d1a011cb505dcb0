"""Clients as they come: their own defaults, connections kept alive, no option set for this server."""

import ast
import asyncio
import json
import os
import shutil
import subprocess
from pathlib import Path

import aiohttp
import httpx
import pytest
import requests

from pipelines.targets.local import endpoint as local
from tests.serving import tiny

CLIENTS = Path(__file__).with_name("clients")
BODY = json.dumps({"instances": tiny.SAMPLE})
SCORES = [tiny.score(row) for row in tiny.SAMPLE]


def url(running: local.Running) -> str:
    return f"{running.server.rest_url}/v1/models/{tiny.NAME}:predict"


def check(status: int, text: str) -> None:
    assert status == 200, text
    assert [row["score"] for row in json.loads(text)["predictions"]] == pytest.approx(SCORES, abs=1e-6)


@pytest.mark.parametrize(
    "command",
    [["java", "Client.java"], ["go", "run", "client.go"], ["node", "client.mjs"]],
    ids=["java", "go", "node"],
)
def test_a_client_of_another_language_is_answered(running: local.Running, command: list[str], tmp_path: Path):
    program, *arguments = command
    if not shutil.which(program):
        pytest.skip(f"no {program} on PATH")
    files = [str(CLIENTS / name) if "." in name else name for name in arguments]
    # Nothing of theirs is left behind, and nothing is looked for on a network.
    env = os.environ | {"GOCACHE": str(tmp_path), "GOFLAGS": "-mod=mod", "GOTOOLCHAIN": "local", "GOPROXY": "off"}
    done = subprocess.run([program, *files, url(running), BODY], env=env, capture_output=True, text=True, timeout=120)

    lines = done.stdout.splitlines()
    assert len(lines) == 5, done.stdout + done.stderr
    for line in lines:
        status, _, text = line.partition(" ")
        check(int(status), text)


def test_pythons_clients_are_answered(running: local.Running):
    headers = {"Content-Type": "application/json"}
    with requests.Session() as session:
        for _ in range(3):
            one = session.post(url(running), data=BODY, headers=headers, timeout=10)
            check(one.status_code, one.text)
    with httpx.Client() as client:
        for _ in range(3):
            other = client.post(url(running), content=BODY, headers=headers)
            check(other.status_code, other.text)

    async def ask() -> None:
        async with aiohttp.ClientSession() as session:
            for _ in range(3):
                async with session.post(url(running), data=BODY, headers=headers) as response:
                    check(response.status, await response.text())

    asyncio.run(ask())


def test_a_body_in_chunks_is_answered(running: local.Running):
    pieces = (BODY[start : start + 7].encode() for start in range(0, len(BODY), 7))

    answer = requests.post(url(running), data=pieces, timeout=10)

    check(answer.status_code, answer.text)


def test_tritons_clients_are_answered_over_both_transports(running: local.Running):
    python = os.environ.get("PERENNIAL_TRITON", "")
    if not shutil.which(python):
        pytest.skip("PERENNIAL_TRITON names no interpreter with Triton's client")
    rest = running.server.rest_url.removeprefix("http://")
    arguments = [rest, running.server.grpc_address or "", tiny.NAME]
    done = subprocess.run([python, str(CLIENTS / "triton.py"), *arguments], capture_output=True, text=True)

    rows = [{"usage": 1.5, "active": True, "plan": "basic"}, {"usage": 3.0, "active": False, "plan": "new"}]
    scores = [tiny.score(row) for row in rows]
    decisions = ["yes" if score >= tiny.THRESHOLD else "no" for score in scores]
    answers = [ast.literal_eval(line.replace("] [", "], [")) for line in done.stdout.splitlines()]
    assert len(answers) == 2, done.stderr
    for answer in answers:
        assert answer == (pytest.approx(scores, abs=1e-6), decisions)
