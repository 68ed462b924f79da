"""Optional packages."""

from importlib import import_module
from typing import Any


def import_extra(module: str, extra: str, what: str) -> Any:
    """Imports a module of an optional package.

    Args:
        module: Name of the module.
        extra: The extra of pdanet_tf that installs the package.
        what: What requires it, the first words of the message.

    Raises:
        ImportError: If the package, or one that it imports, is not installed; the message has the
            command that installs it.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        missing = (error.name or module).partition(".")[0]
        raise ImportError(
            f"{what} requires the package {missing}, which is not installed: "
            f"pip install 'pdanet_tf[{extra}]'"
        ) from error
