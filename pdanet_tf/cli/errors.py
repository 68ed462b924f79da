"""Error messages of the command line."""

import os
import select
import sys
import traceback

from pdanet_tf.base.full_memory import find_full_memory

_LESS = {
    "train": "Reduce --batch-size or --crop-size, choose a smaller --model, or train with "
    "--precision mixed_bfloat16 on hardware that has it",
    "benchmark": "Reduce --batch-size or --size, or choose a smaller --model",
}
_LESS_FOR_IMAGES = (
    "Cut large images into windows with --crop-size 512 512, or reduce them with --max-size"
)


def describe_full_memory(error: Exception, command: str) -> str | None:
    """Returns what to do if an error says that the memory is full; None if it says otherwise.

    Args:
        error: The error, of Python or of any backend.
        command: The command that raised it.
    """
    detail = find_full_memory(error)
    if detail is None:
        return None
    return f"The memory is full ({detail}). {_LESS.get(command, _LESS_FOR_IMAGES)}"


def drop_unread_output() -> bool:
    """Returns whether the reader of the standard output, a pipe, has ended; drops what is left."""
    if not hasattr(select, "poll"):  # as on Windows
        return False
    try:
        descriptor = sys.stdout.fileno()
    except (AttributeError, OSError, ValueError):  # it is closed, or not of this process
        return False
    poll = select.poll()
    poll.register(descriptor, 0)  # errors alone
    if not any(event & select.POLLERR for _, event in poll.poll(0)):
        return False
    # Python flushes it once more at its end.
    os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
    return True


def print_error(error: Exception, debug: bool, message: str | None = None) -> None:
    """Prints an error on standard error, in one line.

    Args:
        error: The error.
        debug: Whether to print the traceback before the line.
        message: The text of the line; by default the error's.
    """
    if debug:
        traceback.print_exception(error)
    print(f"pdanet-tf: error: {message or error}", file=sys.stderr)
