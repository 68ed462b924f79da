"""The command line.

`pdanet-tf train | validate-data | import-labels | evaluate | predict | explain | demo | export |
request | convert | benchmark | models | recipes | runs | doctor`

This module imports almost nothing, so that `main` handles Ctrl-C from the start.
"""

import sys
from collections.abc import Sequence
from importlib import import_module


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command.

    TensorFlow is imported only after the options have been read, and only by commands that use it.

    Args:
        arguments: The command and its options; by default those of the process.

    Returns:
        The exit status: what the command returns, 0 if that is None, 1 after a user's error, 130
        after Ctrl-C, or 141 if the reader of the output has ended.
    """
    try:
        return import_module("pdanet_tf.cli.dispatch").run_command(arguments)
    except KeyboardInterrupt as error:
        print(f"pdanet-tf: {str(error) or 'Interrupted.'}", file=sys.stderr)
        return 130
