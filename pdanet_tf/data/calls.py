"""Python functions that TensorFlow's threads call, which must not be cut off at exit."""

import atexit
import functools
import threading
import time
from collections.abc import Callable
from typing import TypeVar

_Result = TypeVar("_Result")
_PAUSE = 0.1  # seconds without a call, after which none is expected
_LONGEST_WAIT = 10.0


class _Calls:
    """Counts calls, and can wait for a pause.

    When Python ends, a thread of TensorFlow that asks for Python's lock never gets it, and an
    iterator that is still held waits for that thread for ever. Pipelines read ahead only so far:
    a moment after the last batch was taken nobody asks any more.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running = 0
        self._latest = time.monotonic()

    def counted(self, function: Callable[..., _Result]) -> Callable[..., _Result]:
        """Returns the function with its calls counted."""

        @functools.wraps(function)
        def call(*arguments: object) -> _Result:
            self._note(1)
            try:
                return function(*arguments)
            finally:
                self._note(-1)

        return call

    def _note(self, change: int) -> None:
        with self._lock:
            self._running += change
            self._latest = time.monotonic()

    def wait_for_pause(self) -> None:
        """Returns when no call runs and none has for a while, or when that takes too long."""
        deadline = time.monotonic() + _LONGEST_WAIT
        while time.monotonic() < deadline:
            if not self._running and time.monotonic() - self._latest > _PAUSE:
                return
            time.sleep(_PAUSE / 4)


_calls = _Calls()
counted = _calls.counted
atexit.register(_calls.wait_for_pause)
