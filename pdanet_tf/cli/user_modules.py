"""The modules that `--import` names. They register the user's own families of models."""

import os
import sys
from collections.abc import Sequence
from importlib import import_module

from pdanet_tf.base.catalog import model_names
from pdanet_tf.files import one_line
from pdanet_tf.models.registry import find_model, list_models


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
        except Exception as error:  # a module can raise anything
            is_missing = isinstance(error, ModuleNotFoundError) and error.name == name
            reason = (
                f"there is no such module, neither in the current folder ({folder}) nor installed"
                if is_missing
                else f"{type(error).__name__}: {one_line(error)} (--debug shows where)"
            )
            raise ValueError(f"--import {name}: {reason}") from error


def user_families() -> dict[str, list[str]]:
    """Returns the names of the models that are not part of pdanet_tf, by title of the family.

    The title is the first line of the family's docstring, or its name if there is none.
    """
    families: dict[str, list[str]] = {}
    for name in sorted(set(list_models()) - set(model_names())):
        family = find_model(name).family
        lines = (family.__doc__ or "").strip().splitlines()
        families.setdefault(lines[0] if lines else family.__name__, []).append(name)
    return families
