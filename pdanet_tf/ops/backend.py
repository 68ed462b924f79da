"""The backend of Keras."""

import keras


def require_tensorflow(what: str) -> None:
    """Checks that Keras runs on TensorFlow.

    Args:
        what: What requires it, the first words of the message.

    Raises:
        RuntimeError: If Keras runs on another backend.
    """
    backend = keras.backend.backend()
    if backend != "tensorflow":
        raise RuntimeError(
            f"{what} requires Keras' TensorFlow backend. Received: KERAS_BACKEND={backend}"
        )
