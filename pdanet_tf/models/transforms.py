"""Copies of models: in another precision, and with batch norm folded into the convolutions."""

from collections.abc import Callable
from typing import Any

import keras

from pdanet_tf.layers import ConvBatchNorm
from pdanet_tf.ops.precision import dtype_policy


def with_dtype_policy(model: keras.Model, dtype: str) -> keras.Model:
    """Returns a copy of a model under another dtype policy: bfloat16 for a stored model, say.

    It computes what `build_model(..., dtype=dtype)` would with the same weights. Layers that
    compute scores of classes do so in float32 under every policy of half precision.

    Args:
        model: A functional model; nested ones are copied, too.
        dtype: A Keras dtype policy, such as `"mixed_bfloat16"`; `"bfloat16"` for kernels in it,
            too, which is faster, for prediction, and takes half the memory.

    Returns:
        A functional model with the same inputs and outputs, and the same variables but for
        their precision.

    Raises:
        ValueError: If there is no such policy.

    Example:
        ```python
        model = keras.saving.load_model("runs/first/best.keras")
        prediction = pdanet_tf.predict("photo.jpg", with_dtype_policy(model, "mixed_bfloat16"))
        ```
    """
    with dtype_policy(dtype):
        return _copy(model, lambda layer: {**layer.get_config(), "dtype": dtype})


def fold_batch_norm(model: keras.Model) -> keras.Model:
    """Returns a copy of a model in which convolutions do what batch norm did behind them.

    For prediction: the copy cannot be trained. Its logits are the model's, to rounding. If it is
    saved, what is loaded is a model with batch norm again, and the same logits.

    Args:
        model: A functional model. Its `ConvBatchNorm` layers are folded, nested ones, too; batch
            norm of other layers stays.

    Returns:
        A functional model with the same inputs and outputs.
    """
    copy = _copy(model, lambda layer: layer.get_config())
    for layer in copy._flatten_layers(include_self=False):
        if isinstance(layer, ConvBatchNorm):
            layer.fold_batch_norm()
    return copy


def _copy(model: keras.Model, configure: Callable[[Any], dict[str, Any]]) -> keras.Model:
    """Returns a model of layers with other configurations, and the same values in variables."""

    def copy_layer(layer: keras.layers.Layer) -> keras.layers.Layer:
        return type(layer).from_config(configure(layer))

    copy = keras.models.clone_model(model, clone_function=copy_layer, recursive=True)
    for ours, theirs in zip(copy.variables, model.variables, strict=True):
        ours.assign(theirs)
    return copy
