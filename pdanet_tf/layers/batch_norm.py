"""The batch norm of all models, in one pass over the values."""

from typing import Any

import keras
from keras import ops

from pdanet_tf.base.types import Tensor
from pdanet_tf.ops.batch_norm import (
    can_fuse_batch_norm,
    normalize,
    normalize_batch,
    normalize_batch_of_replicas,
)
from pdanet_tf.ops.replicas import has_replicas


@keras.saving.register_keras_serializable(package="pdanet_tf")
class BatchNorm(keras.layers.BatchNormalization):
    """Batch norm with the reference's settings: momentum 0.9 (PyTorch's 0.1), epsilon 1e-5.

    The outputs equal those of Keras' layer to rounding, and the variables are the same. Under
    TensorFlow, Keras' layer takes several passes over the values, and in half precision over
    float32 copies of them; this layer uses TensorFlow's fused operation, whose gradient is also
    fused. On several replicas of a `tf.distribute` strategy, the moments are those of the whole
    batch, over all replicas (as in the reference's synchronized batch norm), so that the number of
    devices does not change what is computed. Inside `pdanet_tf.ops.portable.plain_operations` it
    uses Keras' computation. The variables are float32 even if the dtype policy keeps those of other
    layers in half precision.

    Args:
        beta_initializer: Initializer of the shift.
        **kwargs: Arguments of `keras.layers.Layer`.

    Shapes:
        Input and output `(batch, height, width, channels)`.
    """

    def __init__(
        self,
        beta_initializer: str | dict[str, Any] | keras.initializers.Initializer = "zeros",
        dtype: str | dict[str, Any] | keras.DTypePolicy | None = None,
        **kwargs: Any,
    ) -> None:
        policy = keras.dtype_policies.get(dtype).name
        super().__init__(
            momentum=0.9,
            epsilon=1e-5,
            beta_initializer=beta_initializer,
            dtype=f"mixed_{policy}" if policy in ("bfloat16", "float16") else policy,
            **kwargs,
        )

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        """Normalises by the batch's moments in training, and by their moving averages otherwise."""
        uses_batch = training and self.trainable
        synchronizes = uses_batch and has_replicas()
        if not synchronizes and not can_fuse_batch_norm(inputs):
            return super().call(inputs, training=training)
        if not uses_batch:
            averages = self.moving_mean, self.moving_variance
            return normalize(inputs, self.gamma, self.beta, *averages, self.epsilon)
        by_batch = normalize_batch_of_replicas if synchronizes else normalize_batch
        outputs, mean, variance = by_batch(inputs, self.gamma, self.beta, self.epsilon)
        # Without an image, the moments of one device are undefined. Those of all devices are not.
        keeps = False if synchronizes else ops.equal(ops.size(inputs), 0)
        for average, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
            updated = average * self.momentum + value * (1 - self.momentum)
            average.assign(ops.where(keeps, average, updated))
        return outputs

    def get_config(self) -> dict[str, Any]:
        """Returns every argument of the constructor."""
        config = super().get_config()
        return {key: config[key] for key in ("name", "trainable", "dtype", "beta_initializer")}
