"""The plain way of what has a faster one."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_is_plain: ContextVar[bool] = ContextVar("is_plain", default=False)


@contextmanager
def plain_operations() -> Iterator[None]:
    """Has all that is traced or computed inside done the plain way.

    Convolutions are convolutions, and position attention is computed at once: for other runtimes,
    which may know neither loops nor what they gain from Winograd's way, and for comparison.

    Example:
        ```python
        with plain_operations():
            model.export("model.onnx", format="onnx")
        ```
    """
    token = _is_plain.set(True)
    try:
        yield
    finally:
        _is_plain.reset(token)


def is_plain() -> bool:
    """Tells whether it is the plain way that is asked for."""
    return _is_plain.get()
