"""``python -m serving.collector --folder DIR --bucket s3://BUCKET/PREFIX``: collect what servers log."""

import argparse
import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import uvicorn
from starlette.applications import Starlette

from serving.collector.app import app
from serving.collector.inbox import Inbox
from serving.collector.intake import Intake
from serving.collector.keeper import Keeper


def main() -> None:
    """Collect until the process is asked to end; what arrived by then is brought to the bucket."""
    parser = argparse.ArgumentParser(prog="python -m serving.collector", description=__doc__, allow_abbrev=False)
    parser.add_argument("--folder", type=Path, required=True, help="disk for what is not in the bucket yet")
    parser.add_argument("--bucket", required=True, help="s3://bucket/prefix of the log")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; default: loopback")
    parser.add_argument("--port", type=int, default=8090)
    parser.add_argument("--every", type=float, default=60.0, help="seconds between two writes to the bucket")
    parser.add_argument("--retention-days", type=int, default=180, help="days that the bucket keeps")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    inbox = Inbox(arguments.folder)
    intake = Intake(inbox)
    keeper = Keeper(
        arguments.folder,
        inbox,
        arguments.bucket,
        retention_days=arguments.retention_days,
        clock=lambda: datetime.now(UTC),
    )

    # Not after the server's end: uvicorn ends the process by the signal that ended the server.
    @contextlib.asynccontextmanager
    async def keeping(_: Starlette) -> AsyncIterator[None]:
        thread = threading.Thread(target=keeper.run, args=(arguments.every,), name="keeper")
        thread.start()
        yield
        await asyncio.to_thread(intake.close)
        keeper.close()
        await asyncio.to_thread(thread.join)

    uvicorn.run(app(inbox, intake, keeping), host=arguments.host, port=arguments.port, access_log=False)


if __name__ == "__main__":
    main()
