"""Error messages of the command line."""

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
