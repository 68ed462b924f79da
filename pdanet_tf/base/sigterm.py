"""The exit status after SIGTERM, and what SIGTERM does before there is a run to save."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# EX_TEMPFAIL of sysexits.h: a failure that goes away if the command is run again. The status that
# shells show for every process that SIGTERM ended, 143, would not say that the state was saved.
RESTART_STATUS = 75


@contextmanager
def restarted_after_sigterm() -> Iterator[None]:
    """Ends the process at once with `RESTART_STATUS` if SIGTERM arrives in the block.

    Use it while modules are imported: nothing has been begun, so nothing is lost. Does nothing
    in other threads than the main one, in which Python handles signals, and if the program has
    a handler of its own.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, _end)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGTERM) is _end:  # no module has replaced it
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _end(number: int, frame: FrameType | None) -> None:
    # An exception could be caught by one of the many packages that are being imported.
    os._exit(RESTART_STATUS)
