"""Layers that compute scores of classes, in float32 even where the model has half precision."""

from typing import Any

import keras

from pdanet_tf.layers.precision import full_precision_dtype


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
