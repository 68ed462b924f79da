"""Parses the arguments of the command line and runs the command."""

import itertools
import os
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from importlib import import_module
from typing import Any

from pdanet_tf.base.sigterm import restarted_after_sigterm
from pdanet_tf.base.startup import import_keras_quietly, keep_freed_memory
from pdanet_tf.cli.demo import serve_page
from pdanet_tf.cli.doctor import report_installation
from pdanet_tf.cli.errors import describe_full_memory, drop_unread_output, print_error
from pdanet_tf.cli.models_table import print_models
from pdanet_tf.cli.named_recipes import print_recipes
from pdanet_tf.cli.options import TRAIN_GROUPS, make_parser
from pdanet_tf.cli.request import request
from pdanet_tf.cli.runs_table import compare_runs
from pdanet_tf.cli.spelling import spell_as_options
from pdanet_tf.training.cluster import names_processes


def _import_labels(**options: Any) -> int:
    # Imported here, so that other commands do not wait for the readers of annotations.
    return import_module("pdanet_tf.cli.labels").import_annotations(**options)


_PIPE_STATUS = 141  # that of a process which SIGPIPE ended, as shells show it
_WITHOUT_KERAS: dict[str, Callable[..., int | None]] = {
    "demo": serve_page,  # which imports Keras once it knows that it can listen
    "doctor": report_installation,
    "import-labels": _import_labels,
    "models": print_models,
    "recipes": print_recipes,
    "request": request,
    "runs": compare_runs,
}


def run_command(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; see `pdanet_tf.cli.main`."""
    options = vars(make_parser().parse_args(arguments))
    command, debug = options.pop("command"), options.pop("debug", False)
    imports = options.pop("imports", [])
    keep_freed_memory(one_arena=True)
    if command in ("predict", "request"):  # they continue after errors, so they print them
        options["debug"] = debug
    try:
        if command in _WITHOUT_KERAS and not imports:
            return _WITHOUT_KERAS[command](**options) or 0
        # The run itself handles SIGTERM; until then its modules take seconds.
        with restarted_after_sigterm() if command == "train" else nullcontext():
            import_module("pdanet_tf.data.readers").set_pixel_limit()
            trains = command == "train"
            # TensorFlow joins the processes that train together before it uses its devices.
            import_keras_quietly(trains, not (trains and names_processes(os.environ)))
            import_module("pdanet_tf.cli.user_modules").import_user_modules(imports)
            if command == "benchmark":  # its worker processes import the modules, too
                options["imports"] = imports
            commands = import_module("pdanet_tf.cli.commands")
        return commands.COMMANDS[command](**options) or 0
    except (ValueError, OSError, ArithmeticError, ImportError, RuntimeError) as error:
        if isinstance(error, BrokenPipeError) and drop_unread_output():
            return _PIPE_STATUS
        # Options of `train` that were not given are not in `options`.
        names = {*options, *(itertools.chain(*TRAIN_GROUPS.values()) if command == "train" else ())}
        message = describe_full_memory(error, command) or spell_as_options(str(error), names)
        print_error(error, debug, message)
        return 1
    except Exception as error:
        full = describe_full_memory(error, command)
        if full is None:
            raise
        print_error(error, debug, full)
        return 1
