"""The processes of a run wait for each other, and check that they are going to do the same.

TensorFlow's own start waits without an end for a process that does not come up. So the processes
meet at the chief's address before TensorFlow uses it: each says what it is going to do, in a line
of JSON, and the chief answers all of them.
"""

import contextlib
import errno
import json
import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

from pdanet_tf.base.fields import shorten
from pdanet_tf.files import one_line, plain_error
from pdanet_tf.training.cluster import Cluster

_LONGEST_LINE = 1 << 20  # bytes
_GRACE = 10.0  # seconds for the chief's answer after the end
_PAUSE = 0.2  # seconds between two attempts to reach the chief
_LONGEST_PAUSE = 10.0  # seconds that the chief waits for what a process says
_FAREWELL = 60.0  # seconds to wait for the others once one of the processes has failed


class Meeting:
    """The only meeting of the processes of a run. One that fails before it tells the others.

    Args:
        cluster: The processes.
        seconds: How long to wait.
    """

    def __init__(self, cluster: Cluster, seconds: float) -> None:
        self.cluster = cluster
        self.seconds = seconds
        self._has_begun = False

    def hold(self, facts: Mapping[str, Any]) -> None:
        """Waits until all processes are there, and checks that they agree; see `meet`."""
        self._has_begun = True
        meet(self.cluster, facts, self.seconds)

    @contextlib.contextmanager
    def explained(self) -> Iterator[None]:
        """Tells the other processes if the block fails before the meeting; they then fail, too."""
        try:
            yield
        except Exception as error:
            if not self._has_begun:
                self._has_begun = True
                seconds = min(self.seconds, _FAREWELL)
                # This process raises its own error, whatever the others say.
                with contextlib.suppress(OSError, ValueError):
                    meet(self.cluster, {}, seconds, failure=one_line(error))
            raise


def check_own_port(cluster: Cluster) -> None:
    """Checks that this process can listen at its address, as TensorFlow will after the meeting.

    Raises:
        OSError: If it cannot, for example because the port is in use.
    """
    if not cluster.is_chief:  # which the meeting shows
        with _listening(cluster, cluster.index):
            pass


def meet(
    cluster: Cluster, facts: Mapping[str, Any], seconds: float, failure: str | None = None
) -> None:
    """Waits until all processes are there, and checks that they agree.

    Args:
        cluster: The processes.
        facts: What must be the same everywhere, ready for JSON: options, versions, data.
        seconds: How long to wait.
        failure: Why this process cannot train; None if it can.

    Raises:
        TimeoutError: If a process has not come up by then; the message names its address.
        ValueError: If facts differ, or a process has failed; the message says how. Every process
            raises it.
        OSError: If the chief cannot listen at its address.
    """
    end = time.monotonic() + seconds
    said = {"facts": dict(facts), "failure": failure}
    if cluster.is_chief:
        answer = _receive_all(cluster, json.loads(json.dumps(said)), end, seconds)
    else:
        answer = _ask(cluster, said, end, seconds)
    if answer is not None:
        raise ValueError(answer)


def _receive_all(cluster: Cluster, own: Any, end: float, seconds: float) -> str | None:
    """Waits for all others, compares what they say, and tells them the result."""
    found: dict[int, Any] = {0: own}
    others: dict[str, None] = {}  # what came besides, in order
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(_listening(cluster, 0))
        connections: list[socket.socket] = []
        while len(found) < cluster.size:
            left = end - time.monotonic()
            try:
                server.settimeout(max(0.01, left))
                connection, _ = server.accept()
            except TimeoutError:
                if _failures(found, cluster):
                    break
                missing = [a for i, a in enumerate(cluster.addresses) if i not in found]
                text = f"{_workers(missing)} did not come up within {seconds:g} s"
                text = ". ".join((text, *others))
                for connection in connections:
                    _send(connection, {"missing": text})
                raise TimeoutError(text) from None
            stack.enter_context(connection)
            said = _read(connection, min(end, time.monotonic() + _LONGEST_PAUSE))
            # A port scanner is not one of ours.
            if not isinstance(said, dict) or not isinstance(said.get("cluster"), list):
                continue
            if said["cluster"] != list(cluster.addresses):
                # Perhaps one of an earlier job: the chief goes on waiting for its own.
                text = _describe_lists(cluster, said["cluster"])
                others[text] = None
                _send(connection, {"error": text})
                continue
            index = int(said["index"])
            if found.get(index, said).get("process") != said.get("process"):
                text = f"More than one process came as number {index}, {cluster.addresses[index]}"
                others[f"{text}: each must have an index of its own"] = None
            found[index] = said
            connections.append(connection)
            if _failures(found, cluster):
                end = min(end, time.monotonic() + _FAREWELL)
        answer = _failures(found, cluster) or _compare(found, cluster)
        for connection in connections:
            _send(connection, {"error": answer})
    return answer


def _listening(cluster: Cluster, index: int) -> socket.socket:
    """Returns a server at the port of a process: at all IPv4 addresses of this machine, or IPv6.

    Raises:
        OSError: If the process cannot listen there.
    """
    host, port = cluster.place(index)
    try:
        families = {found[0] for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
    except OSError:  # this machine does not know its own name
        families = {socket.AF_INET}
    family = socket.AF_INET if socket.AF_INET in families else socket.AF_INET6
    try:
        return socket.create_server(("", port), family=family)
    except OSError as error:
        # Python adds the address to the reason.
        reason = os.strerror(error.errno) if error.errno else error.strerror
        raise plain_error(
            error.errno or errno.EIO,
            f"The worker cannot listen at {cluster.addresses[index]}: {reason}. "
            "Choose another port in TF_CONFIG",
        ) from error


def _ask(cluster: Cluster, own: Mapping[str, Any], end: float, seconds: float) -> str | None:
    """Tells the chief what this process is going to do, and returns its answer."""
    said = {"cluster": list(cluster.addresses), "index": cluster.index, **own}
    said["process"] = f"{socket.gethostname()} {os.getpid()} {threading.get_ident()}"
    answer = None
    while answer is None and time.monotonic() < end:
        time.sleep(_PAUSE)
        with (
            contextlib.suppress(OSError),  # it is not up yet
            socket.create_connection(cluster.place(0), timeout=1) as connection,
        ):
            _send(connection, said)
            answer = _read(connection, end + _GRACE)
    if isinstance(answer, dict) and "missing" in answer:
        raise TimeoutError(answer["missing"])
    if isinstance(answer, dict) and "error" in answer:
        return answer["error"]
    raise TimeoutError(f"{_workers([cluster.addresses[0]])} did not come up within {seconds:g} s")


def _describe_lists(cluster: Cluster, other: list[Any]) -> str:
    """Returns how the chief's list of addresses differs from that of another process."""
    own = list(cluster.addresses)
    only = [
        f"only {whose} list has {shorten(next(name for name in one if name not in two))}"
        for one, two, whose in ((other, own, "its"), (own, other, "the chief's"))
        if any(name not in two for name in one)
    ]
    differences = "; ".join(only) or "the order differs"
    return f"A process came whose list of addresses is not the chief's: {differences}"


def _send(connection: socket.socket, content: Any) -> None:
    with contextlib.suppress(OSError):  # the other process has ended
        connection.sendall(json.dumps(content).encode() + b"\n")


def _read(connection: socket.socket, end: float) -> Any:
    """Returns the line of JSON that the other process sends; None if it is not one."""
    received = b""
    while not received.endswith(b"\n") and len(received) < _LONGEST_LINE:
        connection.settimeout(max(0.01, end - time.monotonic()))
        try:
            part = connection.recv(1 << 16)
        except OSError:
            return None
        if not part:
            return None
        received += part
    try:
        return json.loads(received)
    except (RecursionError, ValueError):
        return None


def _failures(found: Mapping[int, Any], cluster: Cluster) -> str | None:
    """Returns which processes have failed and why; None if none has."""
    texts = [
        f"{_workers([cluster.addresses[index]])} failed: {found[index]['failure']}"
        for index in sorted(found)
        if found[index].get("failure")
    ]
    return f"None of the workers trains: {'; '.join(texts)}" if texts else None


def _compare(found: Mapping[int, Any], cluster: Cluster) -> str | None:
    """Returns how the processes differ; None if they agree."""
    chief, texts = found[0]["facts"], []
    for index in sorted(found):
        other = found[index]["facts"]
        for name in sorted({*chief, *other}):
            if chief.get(name) != other.get(name):
                texts.append(
                    f"{name} is {shorten(other.get(name))} on {cluster.addresses[index]}, and "
                    f"{shorten(chief.get(name))} on {cluster.addresses[0]}"
                )
    if not texts:
        return None
    return f"The workers differ, so none of them trains: {'; '.join(texts)}"


def _workers(addresses: list[str]) -> str:
    return f"The worker{'s' if len(addresses) > 1 else ''} at {', '.join(addresses)}"
