"""The backend of Keras."""

from collections.abc import Sequence

import keras

_NAMES = {"jax": "JAX", "tensorflow": "TensorFlow", "torch": "PyTorch"}


def require_tensorflow(what: str) -> None:
    """Checks that Keras runs on TensorFlow.

    Args:
        what: What requires it, the first words of the message.

    Raises:
        RuntimeError: If Keras runs on another backend.
    """
    require_backend(what, ("tensorflow",))


def require_backend(what: str, backends: Sequence[str]) -> None:
    """Checks that Keras runs on one of several backends.

    Args:
        what: What requires it, the first words of the message.
        backends: Keras' names of the backends.

    Raises:
        RuntimeError: If Keras runs on another backend.
    """
    backend = keras.backend.backend()
    if backend not in backends:
        names = " or ".join(_NAMES[name] for name in backends)
        raise RuntimeError(
            f"{what} requires Keras' {names} backend. Received: KERAS_BACKEND={backend}"
        )
