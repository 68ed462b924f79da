"""The server of the demo page."""

import contextlib
import errno
import socket
from collections.abc import Sequence

import uvicorn
from starlette.types import ASGIApp

LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")


def listen(host: str, port: int) -> socket.socket:
    """Returns a socket that listens, so that a busy port is known before a model is loaded.

    Args:
        host: The address of this machine to listen at.
        port: The port; 0 for any free one.

    Raises:
        OSError: If the port is in use or may not be used, or the address is not this machine's.
        ValueError: If there is no such port.
    """
    if not 0 <= port <= 65_535:
        raise ValueError(f"--port must be from 0 to 65535. Received: {port}")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise OSError(
                f"--port {port}: the port is in use. Choose another one, or 0 for any free one"
            ) from error
        raise OSError(f"--host {host} --port {port}: cannot listen there: {error}") from error


def url_of(listening: socket.socket) -> str:
    """Returns the address of the page for a browser on this machine."""
    host, port = listening.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def allowed_hosts(host: str) -> Sequence[str] | None:
    """Returns the names under which browsers may reach a server at an address; None for any.

    A server for this machine alone refuses other names, so that a foreign page, whose name its
    owner lets point to 127.0.0.1, cannot read the samples.
    """
    return [*LOCAL_HOSTS[:2], "[::1]"] if host in LOCAL_HOSTS else None


def serve(app: ASGIApp, listening: socket.socket) -> None:
    """Serves an application until Ctrl-C."""
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, timeout_graceful_shutdown=2, lifespan="on"
    )
    with contextlib.suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listening])
    print("\nThe demo page is closed")
