"""SIGTERM, by which schedulers announce that a process must end soon."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from pdanet_tf.base.sigterm import RESTART_STATUS

EXIT_STATUS = RESTART_STATUS


class TrainingTerminated(SystemExit):
    """SIGTERM stopped training, and the state is saved. The exit status of the process is 75.

    The message says what was saved and how to continue.
    """

    def __init__(self, message: str = "") -> None:
        super().__init__(EXIT_STATUS)
        self.message = message

    def __str__(self) -> str:
        return self.message


class Termination:
    """Waits for SIGTERM, and stops training where nothing is half done."""

    def __init__(self) -> None:
        self.is_requested = False  # whether SIGTERM was received
        self._deferrals = 0

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Raises `TrainingTerminated` in the block after SIGTERM, at once unless it is deferred.

        Does nothing in other threads than the main one, in which Python handles signals, and if
        the program has a handler of its own.
        """
        is_main = threading.current_thread() is threading.main_thread()
        if not is_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
            yield
            return
        signal.signal(signal.SIGTERM, self._request)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Lets the block run on after SIGTERM until it calls `check`, or ends."""
        self._deferrals += 1
        try:
            yield
        finally:
            self._deferrals -= 1
        if not self._deferrals:
            self.check()

    def defer_for_good(self) -> None:
        """Lets only `check` stop training from now on.

        Of several processes that train together, one that stopped alone would make the others fail:
        they stop together, after a step.
        """
        self._deferrals += 1

    def check(self) -> None:
        """Raises `TrainingTerminated` if SIGTERM was received."""
        if self.is_requested:
            raise TrainingTerminated

    def _request(self, number: int, frame: FrameType | None) -> None:
        self.is_requested = True
        if not self._deferrals:
            self.check()
