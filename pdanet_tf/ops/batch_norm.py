"""Operations that TensorFlow computes in one pass, where Keras takes several."""

from typing import Any

import keras


def can_fuse_batch_norm(inputs: Any) -> bool:
    """Tells whether `normalize` and `normalize_batch` take these values.

    They do under TensorFlow, in float32 and half precision.
    """
    return keras.backend.backend() == "tensorflow" and keras.backend.standardize_dtype(
        inputs.dtype
    ) in ("float32", "float16", "bfloat16")


def normalize(inputs: Any, gamma: Any, beta: Any, mean: Any, variance: Any, epsilon: float) -> Any:
    """Computes `(inputs - mean) / sqrt(variance + epsilon) * gamma + beta`.

    Args:
        inputs: `(batch, height, width, channels)`.
        gamma: `(channels,)`, float32, as for all that follow.
        beta: Shift.
        mean: Mean.
        variance: Variance.
        epsilon: Added to the variance.

    Returns:
        The values, in the shape and dtype of the inputs.
    """
    import tensorflow as tf

    return tf.raw_ops.FusedBatchNormV3(
        x=inputs,
        scale=gamma,
        offset=beta,
        mean=mean,
        variance=variance,
        epsilon=epsilon,
        is_training=False,
    ).y


def normalize_batch(inputs: Any, gamma: Any, beta: Any, epsilon: float) -> tuple[Any, Any, Any]:
    """Computes the same by the moments of the batch itself.

    Args:
        inputs: `(batch, height, width, channels)`.
        gamma: `(channels,)`, float32, as is `beta`.
        beta: Shift.
        epsilon: Added to the variance.

    Returns:
        The values, in the shape and dtype of the inputs, and their mean and (biased) variance,
        `(channels,)`, float32.
    """
    import tensorflow as tf

    found = tf.raw_ops.FusedBatchNormV3(
        x=inputs,
        scale=gamma,
        offset=beta,
        mean=[],
        variance=[],
        epsilon=epsilon,
        is_training=True,
    )
    # TensorFlow's variance is that of the population of which the batch would be a sample.
    count = tf.cast(tf.size(inputs) // inputs.shape[-1], "float32")
    biased = found.batch_variance * tf.maximum(count - 1, 1) / count
    return found.y, found.batch_mean, biased
