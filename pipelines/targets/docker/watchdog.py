"""Remove the containers of a run when the command dies, however it dies.

Containers are no children of the command, so nothing ends them when it is killed. The command keeps a pipe to this
process and writes a line when it has removed them itself; a pipe that ends without it means that the command is gone.
Runs as ``python -m pipelines.targets.docker.watchdog LABEL``, once per run.
"""

import signal
import sys

DONE = "done\n"


def main() -> None:
    """Wait for the pipe's end; then remove what carries the label, unless the command has."""
    # Ctrl-C reaches the whole foreground group; the pipe tells when it is time to go.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if sys.stdin.readline() == DONE:
        return
    from pipelines.images import engine

    engine.remove_until_gone(engine.connect(), sys.argv[1])


if __name__ == "__main__":
    main()
