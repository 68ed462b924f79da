"""Layers that compute scores of classes, in float32 even in models of half precision."""

from typing import Any

import keras

from pdanet_tf.base.shapes import channels_of
from pdanet_tf.base.types import Shape, Tensor
from pdanet_tf.layers.conv import ConvBatchNorm
from pdanet_tf.layers.initializers import head_beta, head_kernel
from pdanet_tf.ops.precision import full_precision_dtype


class FullPrecision:
    """Mixin: the layer computes in float32 under a half-precision dtype policy.

    A layer under a float64 policy stays float64. The policy's variable dtype is ignored, so that a
    copy of the layer under any policy has float32 or float64 variables.
    """

    def __init__(
        self,
        *args: Any,
        dtype: str | dict[str, Any] | keras.DTypePolicy | None = None,
        **kwargs: Any,
    ) -> None:
        policy = keras.dtype_policies.get(dtype)
        kwargs["dtype"] = full_precision_dtype(policy.compute_dtype)
        super().__init__(*args, **kwargs)


@keras.saving.register_keras_serializable(package="pdanet_tf")
class Classifier(FullPrecision, keras.layers.Conv2D):
    """A convolution from features to scores, with the arguments of Keras' `Conv2D`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"data_format": "channels_last", **kwargs})


@keras.saving.register_keras_serializable(package="pdanet_tf")
class ScoreSum(FullPrecision, keras.layers.Add):
    """A sum of scores, with the arguments of Keras' `Add`."""


@keras.saving.register_keras_serializable(package="pdanet_tf")
class AuxiliaryHead(keras.layers.Layer):
    """Classifies the features of an inner stage, for deep supervision (Zhao et al. 2017).

    It is a 3 x 3 convolution to half the channels, dropout, and a 1 x 1 convolution. It is one
    layer, so that a weight file fits a model both with and without it.

    Args:
        num_classes: Number of classes.
        dropout: Rate of the dropout.
        filters: Number of channels of the convolution; None for half of the input's.
        spatial: Whether whole channels are dropped, or else single elements.
        **kwargs: Arguments of `keras.layers.Layer`.

    Shapes:
        Input `(batch, height, width, channels)`, output `(batch, height, width, num_classes)`,
        float32 in half precision.
    """

    def __init__(
        self,
        num_classes: int,
        dropout: float = 0.1,
        filters: int | None = None,
        spatial: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.dropout = dropout
        self.filters = filters
        self.spatial = spatial
        # Files of weights name the layer after this attribute, whichever kind it is.
        self.spatial_dropout = (
            keras.layers.SpatialDropout2D(
                dropout, data_format="channels_last", dtype=self.dtype_policy
            )
            if spatial
            else keras.layers.Dropout(dropout, dtype=self.dtype_policy)
        )
        self.classifier = Classifier(
            num_classes,
            1,
            kernel_initializer=head_kernel(),
            dtype=self.dtype_policy,
            name="classifier",
        )

    def build(self, input_shape: Shape) -> None:
        """Creates the convolution and the classifier."""
        self.conv = ConvBatchNorm(
            channels_of(input_shape) // 2 if self.filters is None else self.filters,
            3,
            beta_initializer=head_beta(),
            dtype=self.dtype_policy,
            name="conv",
        )
        self.conv.build(input_shape)
        self.classifier.build(self.conv.compute_output_shape(input_shape))

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        """Convolves and classifies."""
        x = self.spatial_dropout(self.conv(inputs, training=training), training=training)
        return self.classifier(x)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Returns the shape that `call` produces."""
        return (*input_shape[:-1], self.num_classes)

    def compute_output_spec(
        self, inputs: Tensor, training: bool | None = None
    ) -> keras.KerasTensor:
        """Returns the shape and the dtype that `call` produces."""
        shape = self.compute_output_shape(inputs.shape)
        return keras.KerasTensor(shape, dtype=self.classifier.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """Returns every argument of the constructor."""
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "dropout": self.dropout,
            "filters": self.filters,
            "spatial": self.spatial,
        }
