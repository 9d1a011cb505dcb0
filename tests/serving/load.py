"""Open-loop load: requests leave at fixed times, whether or not earlier ones were answered."""

import asyncio
import json
import threading
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass
class Load:
    """Ask ``row`` on kept-alive and on fresh connections until ``stop``; note every version, score and failure.

    Args:
        rest_url: The server.
        name: The model.
        row: The row.
        per_second: Requests per second; every fourth opens a connection of its own.
    """

    rest_url: str
    name: str
    row: dict[str, Any]
    per_second: float = 150.0
    answers: list[tuple[str, float]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    sent: int = 0

    def __enter__(self) -> "Load":
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self._thread.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._stop.set()
        self._thread.join()

    async def _run(self) -> None:
        idle: list[Connection] = []
        tasks, start = [], time.monotonic()
        while not self._stop.is_set():
            due = start + self.sent / self.per_second
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            tasks.append(asyncio.create_task(self._one(idle if self.sent % 4 else None)))
            self.sent += 1
        await asyncio.wait_for(asyncio.gather(*tasks), 30)
        for _, writer in idle:
            writer.close()

    async def _one(self, idle: list[Connection] | None) -> None:
        address = urlsplit(self.rest_url)
        try:
            kept = bool(idle)
            connection = idle.pop() if idle else await asyncio.open_connection(address.hostname, address.port)
            status, document = await asyncio.wait_for(self._ask(connection, close=idle is None), 20)
        except (OSError, EOFError, TimeoutError, ValueError, IndexError) as broken:
            self.failures.append(f"{'kept' if kept else 'fresh'}: {broken!r}")
            return
        if idle is not None:
            idle.append(connection)
        else:
            connection[1].close()
        if status == 200:
            self.answers.append((document["model_version"], document["predictions"][0]["score"]))
        else:
            self.failures.append(f"{status}: {document}")

    async def _ask(self, connection: Connection, close: bool) -> tuple[int, dict[str, Any]]:
        reader, writer = connection
        body = json.dumps({"instances": [self.row]}).encode()
        head = f"POST /v1/models/{self.name}:predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        head += f"Content-Length: {len(body)}\r\n" + ("Connection: close\r\n" if close else "") + "\r\n"
        writer.write(head.encode() + body)
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
        length = next(int(line.split(":")[1]) for line in lines if line.startswith("content-length"))
        return int(lines[0].split()[1]), json.loads(await reader.readexactly(length))
