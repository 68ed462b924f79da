"""Sends a request to a server, again if the server is not ready."""

import random
import time
from typing import Protocol

from pdanet_tf.base.wording import quantity
from pdanet_tf.serving.codecs import Message
from pdanet_tf.serving.errors import BusyError, LateError, ServingError, UnavailableError

FIRST_PAUSE = 0.1  # seconds
_LONGEST_PAUSE = 5.0


class Transport(Protocol):
    """A connection to a server."""

    def send(self, target: str, message: Message, seconds: float) -> Message:
        """Sends a request and returns the answer.

        Args:
            target: The path of a URL, or the method of gRPC.
            message: The request.
            seconds: How long to wait.

        Raises:
            UnavailableError: If the server cannot be reached or is not ready.
            TimeoutError: If the answer does not come in time.
            RequestError: If the server refuses the content of the request.
            ServingError: If the server has no such model, or fails.
        """

    def close(self) -> None:
        """Closes the connection."""


def send_again(
    transport: Transport, url: str, target: str, message: Message, timeout: float, retries: int
) -> Message:
    """Sends a request, again while the server is not ready, and returns the answer.

    The pauses between attempts double from 0.1 s to 5 s; each is shortened by up to half at random,
    so that many clients do not return at once.

    Args:
        transport: The connection.
        url: The URL of the server, for messages.
        target: See `Transport.send`.
        message: The request.
        timeout: Seconds for all attempts together.
        retries: How many attempts follow the first at most.

    Raises:
        LateError: If no answer comes in time, or the server remains busy.
        RequestError: If the server refuses the request.
        ServingError: If the server cannot be reached, has no such model, or fails.
    """
    start = time.monotonic()
    attempt = 0
    while True:
        attempt += 1
        try:
            return transport.send(target, message, start + timeout - time.monotonic())
        except UnavailableError as error:
            pause = min(_LONGEST_PAUSE, FIRST_PAUSE * 2 ** (attempt - 1)) * random.uniform(0.5, 1)
            passed = time.monotonic() - start
            if attempt > retries or passed + pause >= timeout:
                attempts = f"{quantity(attempt, 'attempt')} in {passed:.1f} s; the last: {error}"
                if isinstance(error, BusyError):
                    raise LateError(
                        f"the server at {url} is not ready or has too many requests ({attempts}). "
                        "Send it again later"
                    ) from error
                raise ServingError(
                    f"{url}: no server answers at this address ({attempts}). Start the server, or "
                    "correct the address"
                ) from error
            time.sleep(pause)
        except TimeoutError as error:
            raise LateError(
                f"the server at {url} did not answer within timeout={timeout:g} seconds. Raise "
                "it, or lower batch_size"
            ) from error
