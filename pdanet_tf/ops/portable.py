"""One switch that disables the optimised kernels."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_is_plain: ContextVar[bool] = ContextVar("is_plain", default=False)


@contextmanager
def plain_operations() -> Iterator[None]:
    """Disables the optimised kernels for everything that is traced or run eagerly in this block.

    Convolutions are the backend's own instead of Winograd convolutions, attention computes the
    energies of all positions at once instead of block by block, and batch norm uses Keras'
    computation instead of TensorFlow's fused operation. The results agree to rounding. Use it for
    comparison, and for other runtimes, which may not support loops and may have fast convolutions
    of their own. `pdanet_tf.layers.PyramidFusion` stays factored: it consists of standard
    operations, and a convolution of the concatenated levels takes five times the arithmetic.

    A graph that was traced in the block stays plain, and one that was traced before stays
    optimised: a function that Keras or TensorFlow has cached (`model.predict`, `model.fit`, a
    `tf.function`) does not look at the switch again. Build and call a model in the block to be
    sure. The switch applies to the current thread only.

    Example:
        ```python
        with plain_operations():
            model = pdanet_tf.build_model("danet_resnet18")
            model.export("danet", format="tf_saved_model")  # for the LiteRT converter
        ```
    """
    token = _is_plain.set(True)
    try:
        yield
    finally:
        _is_plain.reset(token)


def is_plain() -> bool:
    """Returns True inside a `plain_operations` block."""
    return _is_plain.get()
