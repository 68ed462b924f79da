"""The command line.

`pdanet-tf train | validate-data | evaluate | predict | export | convert | benchmark | models`
"""

import itertools
import sys
from collections.abc import Sequence
from importlib import import_module

from pdanet_tf.base.startup import import_keras_quietly, keep_freed_memory
from pdanet_tf.cli.options import TRAIN_GROUPS, make_parser
from pdanet_tf.cli.spelling import spell_as_options


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command.

    TensorFlow is imported only after the options have been read, and only by commands that use it.

    Args:
        arguments: The command and its options; those of the process by default.

    Returns:
        The exit status: what the command returns, 0 if that is None, 1 after an error of the
        user's, or 130 after Ctrl-C.
    """
    options = vars(make_parser().parse_args(arguments))
    command = options.pop("command")
    keep_freed_memory(one_arena=True)
    try:
        if command == "models":  # which needs neither Keras nor TensorFlow
            import_module("pdanet_tf.cli.models_table").print_models()
            return 0
        import_module("pdanet_tf.data.readers").set_pixel_limit()
        import_keras_quietly()
        commands = import_module("pdanet_tf.cli.commands")
        return commands.COMMANDS[command](**options) or 0
    except (ValueError, OSError, ArithmeticError, ImportError, RuntimeError) as error:
        # Options of `train` that were not given are not among its options.
        names = {*options, *(itertools.chain(*TRAIN_GROUPS.values()) if command == "train" else ())}
        print(f"pdanet-tf: error: {spell_as_options(str(error), names)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as error:
        print(f"pdanet-tf: {str(error) or 'Interrupted.'}", file=sys.stderr)
        return 130
