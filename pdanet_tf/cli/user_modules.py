"""The modules that `--import` names. They register the user's own families of models."""

import os
import sys
from collections.abc import Sequence
from importlib import import_module

from pdanet_tf.files import one_line


def import_user_modules(names: Sequence[str]) -> None:
    """Imports modules, installed or in the current folder.

    Args:
        names: Names of the modules, such as "my_heads" or "my_package.heads".

    Raises:
        ValueError: If a module cannot be imported; the message names it.
    """
    folder = os.getcwd()
    if names and not {"", folder} & set(sys.path):
        sys.path.insert(0, folder)
    for name in names:
        if not all(part.isidentifier() for part in name.split(".")) or name.endswith(".py"):
            raise ValueError(
                f"--import requires the name of a module, such as my_heads for the file "
                f"my_heads.py in the current folder. Received: --import {name}"
            )
        try:
            import_module(name)
        except (Exception, SystemExit) as error:  # a module can raise anything
            is_missing = isinstance(error, ModuleNotFoundError) and error.name == name
            reason = (
                f"there is no such module, neither in the current folder ({folder}) nor installed"
                if is_missing
                else f"{type(error).__name__}: {one_line(error)} (--debug shows where)"
            )
            raise ValueError(f"--import {name}: {reason}") from error
