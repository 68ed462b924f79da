"""Error messages of the command line."""

import sys
import traceback


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
