"""Layers that compute scores of classes, in float32 even where the model has half precision."""

from typing import Any

import keras

from pdanet_tf.layers.conv import ConvBatchNorm
from pdanet_tf.layers.initializers import head_beta, head_kernel
from pdanet_tf.ops.precision import full_precision_dtype


class FullPrecision:
    """Has a layer that also inherits from it compute in float32 under half precision.

    A layer under float64 keeps it. What a policy says otherwise is not looked at: a copy of the
    layer under any policy is right.
    """

    def __init__(self, *args: Any, dtype: Any = None, **kwargs: Any) -> None:
        policy = keras.dtype_policies.get(dtype)
        kwargs["dtype"] = full_precision_dtype(policy.compute_dtype)
        super().__init__(*args, **kwargs)


@keras.saving.register_keras_serializable(package="pdanet_tf")
class Classifier(FullPrecision, keras.layers.Conv2D):
    """A convolution from features to scores; the arguments are those of Keras' `Conv2D`."""

    def __init__(self, *args: Any, data_format: Any = "channels_last", **kwargs: Any) -> None:
        super().__init__(*args, data_format=data_format, **kwargs)


@keras.saving.register_keras_serializable(package="pdanet_tf")
class ScoreSum(FullPrecision, keras.layers.Add):
    """A sum of scores; the arguments are those of Keras' `Add`."""


@keras.saving.register_keras_serializable(package="pdanet_tf")
class AuxiliaryHead(keras.layers.Layer):
    """Classifies the features of an inner stage (Zhao et al. 2017); its loss weighs 0.4.

    A 3 x 3 convolution to half the channels, spatial dropout, and a 1 x 1 convolution. It is a
    layer of its own so that a model's weight files fit with and without it.

    Args:
        num_classes: Number of classes.
        dropout: Rate of the spatial dropout.
        **kwargs: Arguments of `keras.layers.Layer`.

    Shapes:
        Input `(batch, height, width, channels)`, output `(batch, height, width, num_classes)`,
        float32 in half precision.
    """

    def __init__(self, num_classes: int, dropout: float = 0.1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.dropout = dropout
        self.spatial_dropout = keras.layers.SpatialDropout2D(
            dropout, data_format="channels_last", dtype=self.dtype_policy
        )
        self.classifier = Classifier(
            num_classes,
            1,
            kernel_initializer=head_kernel(),
            dtype=self.dtype_policy,
            name="classifier",
        )

    def build(self, input_shape: Any) -> None:
        """Creates the convolution, half as wide as the input."""
        self.conv = ConvBatchNorm(
            input_shape[-1] // 2,
            3,
            beta_initializer=head_beta(),
            dtype=self.dtype_policy,
            name="conv",
        )
        self.conv.build(input_shape)
        self.classifier.build(self.conv.compute_output_shape(input_shape))

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Convolves and classifies."""
        x = self.spatial_dropout(self.conv(inputs, training=training), training=training)
        return self.classifier(x)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        """Returns the shape that `call` produces."""
        return (*input_shape[:-1], self.num_classes)

    def compute_output_spec(self, inputs: Any, training: bool | None = None) -> keras.KerasTensor:
        """Returns the shape and the dtype that `call` produces."""
        shape = self.compute_output_shape(inputs.shape)
        return keras.KerasTensor(shape, dtype=self.classifier.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """Returns every argument of the constructor."""
        return {**super().get_config(), "num_classes": self.num_classes, "dropout": self.dropout}
