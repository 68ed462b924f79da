"""Public names whose modules are imported on first use."""

from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any


def lazy_attributes(package: str, homes: Mapping[str, str] | None = None) -> Callable[[str], Any]:
    """Returns a `__getattr__` (PEP 562) for a package.

    The function also finds modules of the package: `pdanet_tf.ops.portable` works after
    `import pdanet_tf`.

    Args:
        package: Name of the package.
        homes: The name of the module that defines each public name.
    """

    def find(name: str) -> Any:
        if homes is not None and name in homes:
            return getattr(import_module(homes[name]), name)
        module = f"{package}.{name}"
        if not name.startswith("_") and find_spec(module) is not None:
            return import_module(module)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return find
