"""The metrics on a port of their own, for a network of their own: no token is asked for there."""

import socket
import threading
from http.server import ThreadingHTTPServer

import prometheus_client
from prometheus_client.exposition import MetricsHandler

from components.shared.errors import StepFailed


class _Handler(MetricsHandler.factory(prometheus_client.REGISTRY)):  # type: ignore[misc] # made by the library
    """Does not say which versions of what the server is made of."""

    def version_string(self) -> str:
        """Name the product only; the library would name Python's version."""
        return "perennial"


class _Server(ThreadingHTTPServer):
    daemon_threads = True


class _Server6(_Server):
    address_family = socket.AF_INET6


def start(host: str, port: int) -> int:
    """Tell the metrics until the process ends; return the port (0 takes any free one).

    Raises:
        StepFailed: If the port is in use or not allowed.
    """
    try:
        server = (_Server6 if ":" in host else _Server)((host, port), _Handler)
    except OSError as error:
        raise StepFailed(
            f"the metrics can't be told on {host}:{port} ({error.strerror}); choose another metrics port."
        ) from error
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    return int(server.server_port)
