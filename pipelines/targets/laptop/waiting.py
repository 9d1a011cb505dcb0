"""Import what a step needs, wait for its task, then run it as the compiled command of a KFP component does.

Runs as ``python waiting.py DESCRIPTOR [MODULE ...]`` in the virtualenv of a step. The descriptor is a socket to the
command. It brings the task's log and, as JSON, its code and arguments; its end without a task means that the step is
not reached.
"""

import contextlib
import importlib
import json
import os
import runpy
import shutil
import socket
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

BEGUN = b"+"
"""The answer to a task, before it runs: from here on whatever happens is the task's own result."""


def main(descriptor: int, modules: Sequence[str]) -> None:
    """Prepare, and run the task if one comes."""
    prepare(modules)
    with socket.socket(fileno=descriptor) as connection:
        received, logs, _, _ = socket.recv_fds(connection, 1, 1)
        if not received:
            return
        with connection.makefile("rb") as stream:
            task = json.load(stream)
        _write_to(logs[0])
        connection.sendall(BEGUN)
    run(task["code"], task["arguments"])


def prepare(modules: Sequence[str]) -> None:
    """Import modules, and the libraries that they import late: those with a function ``load_library`` offer that.

    An import that fails is left to the task, which reports it.
    """
    for name in modules:
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    for name, module in sorted(sys.modules.items()):
        if name.startswith("components.") and hasattr(module, "load_library"):
            with contextlib.suppress(Exception):
                module.load_library()


def run(code: str, arguments: Sequence[str]) -> None:
    """Do in this process what the command does in a new one."""
    program = Path(tempfile.mkdtemp()) / "ephemeral_component.py"
    program.write_text(code, encoding="utf-8")
    sys.argv = [__file__, "--component_module_path", str(program), *arguments]
    runpy.run_module("kfp.dsl.executor_main", run_name="__main__", alter_sys=True)


def _write_to(log: int) -> None:
    """Move to the task's log, with what the imports have written so far."""
    sys.stdout.flush()
    with open(log, "wb") as target, open(sys.stdout.fileno(), "rb", closefd=False) as written:
        written.seek(0)
        shutil.copyfileobj(written, target)
        target.flush()
        for stream in (sys.stdout, sys.stderr):
            os.dup2(log, stream.fileno())


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
