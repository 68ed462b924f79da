"""Batch norm: TensorFlow's fused operation on one device, and the moments of several devices."""

import keras
from keras import ops

from pdanet_tf.base.types import Tensor
from pdanet_tf.ops.portable import is_plain
from pdanet_tf.ops.replicas import sum_over_replicas


def can_fuse_batch_norm(inputs: Tensor) -> bool:
    """Returns whether `normalize` and `normalize_batch` support these inputs.

    They require TensorFlow and float32, float16 or bfloat16. Inside `plain_operations` the result
    is False.
    """
    return (
        not is_plain()
        and keras.backend.backend() == "tensorflow"
        and keras.backend.standardize_dtype(inputs.dtype) in ("float32", "float16", "bfloat16")
    )


def normalize(
    inputs: Tensor, gamma: Tensor, beta: Tensor, mean: Tensor, variance: Tensor, epsilon: float
) -> Tensor:
    """Returns `(inputs - mean) / sqrt(variance + epsilon) * gamma + beta`.

    Args:
        inputs: `(batch, height, width, channels)`.
        gamma: Scale, `(channels,)`, float32.
        beta: Shift, `(channels,)`, float32.
        mean: `(channels,)`, float32.
        variance: `(channels,)`, float32.
        epsilon: Added to the variance.

    Returns:
        The normalised values, in the shape and dtype of `inputs`.
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


def normalize_batch(
    inputs: Tensor, gamma: Tensor, beta: Tensor, epsilon: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Normalises a batch by its own mean and variance.

    Args:
        inputs: `(batch, height, width, channels)`.
        gamma: Scale, `(channels,)`, float32.
        beta: Shift, `(channels,)`, float32.
        epsilon: Added to the variance.

    Returns:
        The normalised values, in the shape and dtype of `inputs`, the mean and the (biased)
        variance of the batch, both `(channels,)`, float32.
    """
    import tensorflow as tf

    fused = tf.raw_ops.FusedBatchNormV3(
        x=inputs,
        scale=gamma,
        offset=beta,
        mean=[],
        variance=[],
        epsilon=epsilon,
        is_training=True,
    )
    # TensorFlow returns the unbiased variance; the moving average expects the biased one.
    count = tf.cast(tf.size(inputs) // inputs.shape[-1], "float32")
    biased = fused.batch_variance * tf.maximum(count - 1, 1) / count
    return fused.y, fused.batch_mean, biased


def normalize_batch_of_replicas(
    inputs: Tensor, gamma: Tensor, beta: Tensor, epsilon: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Normalises a replica's part of a batch by the mean and variance of the whole batch.

    The replicas may have different numbers of images, also none.

    Args:
        inputs: As for `normalize_batch`, on each replica of the current strategy.
        gamma: As for `normalize_batch`.
        beta: As for `normalize_batch`.
        epsilon: As for `normalize_batch`.

    Returns:
        As `normalize_batch`; the mean and the variance are the same on all replicas.
    """
    x = ops.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))
    axes = (0, 1, 2)
    count = sum_over_replicas(ops.cast(ops.size(x) // x.shape[-1], x.dtype))
    mean = sum_over_replicas(ops.sum(x, axes)) / count
    centred = x - mean
    # The square of the centred values: the difference of two large sums would lose digits.
    variance = sum_over_replicas(ops.sum(ops.square(centred), axes)) / count
    outputs = centred * (ops.rsqrt(variance + epsilon) * gamma) + beta
    return ops.cast(outputs, inputs.dtype), mean, variance
