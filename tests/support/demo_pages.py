"""Demo pages that run in a thread, and requests to them."""

import contextlib
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import numpy as np


@contextlib.contextmanager
def running(app: Any) -> Iterator[str]:
    """Serves an application at a free port of this machine, and returns its address."""
    import uvicorn

    from pdanet_tf.demo.server import listen, url_of

    listening = listen("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        while not server.started and thread.is_alive():
            time.sleep(0.01)
        yield url_of(listening)
    finally:
        server.should_exit = True
        thread.join(timeout=60)
        listening.close()


def ask(
    address: str, content: bytes | None = None, **headers: str
) -> tuple[int, bytes, dict[str, str]]:
    """Returns the status, the body and the headers of an answer; posts `content` if it is given."""
    request = urllib.request.Request(address, content, headers)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.read(), dict(answer.headers)
    except urllib.error.HTTPError as error:
        return error.code, error.read(), dict(error.headers)


def unpack(packed: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Reads an answer as its description in `pdanet_tf.demo.packing` says, from its first byte."""
    end = 4 + int.from_bytes(packed[:4], "little")
    header = json.loads(packed[4:end])
    arrays = {}
    for described in header.pop("arrays"):
        dtype = np.dtype(described["dtype"]).newbyteorder("<")
        length = dtype.itemsize * int(np.prod(described["shape"]))
        values = np.frombuffer(packed[end : end + length], dtype)
        arrays[described["name"]] = values.reshape(described["shape"])
        end += length
    assert end == len(packed)
    return header, arrays
