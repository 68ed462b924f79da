"""Copies of models: under another dtype policy, and with batch norm folded into convolutions."""

from collections.abc import Callable
from typing import Any

import keras

from pdanet_tf.layers import ConvBatchNorm
from pdanet_tf.ops.precision import dtype_policy


def with_dtype_policy(model: keras.Model, dtype: str) -> keras.Model:
    """Returns a copy of a model under another dtype policy.

    The copy computes the same as the model of `build_model(..., dtype=dtype)` with the same
    weights. Layers that compute logits are float32 under every policy of half precision.

    Args:
        model: A functional model. Nested models are copied, too.
        dtype: A Keras dtype policy, such as `"mixed_bfloat16"`. Under `"bfloat16"` the kernels are
            bfloat16, too: this is faster and takes half the memory, and is for inference only.

    Returns:
        A functional model with the same inputs and outputs, and variables of the same values, in
        the precision of the policy.

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
    """Returns a copy of a model in which batch norm is folded into the kernels of convolutions.

    The copy is for inference only. Its logits are those of the model, up to rounding. Saving and
    loading the copy restores an ordinary model with batch norm that computes the same logits.

    Args:
        model: A functional model. Its `ConvBatchNorm` layers are folded, also in nested models;
            batch norm of other layers is kept.

    Returns:
        A functional model with the same inputs and outputs.
    """
    copy = _copy(model, lambda layer: layer.get_config())
    for layer in copy._flatten_layers(include_self=False):
        if isinstance(layer, ConvBatchNorm):
            layer.fold_batch_norm()
    return copy


def _copy(model: keras.Model, configure: Callable[[Any], dict[str, Any]]) -> keras.Model:
    """Returns a copy of a model with the same values of variables.

    Args:
        model: The model.
        configure: Returns the configuration of a layer's copy.
    """

    def copy_layer(layer: keras.layers.Layer) -> keras.layers.Layer:
        return type(layer).from_config(configure(layer))

    copy = keras.models.clone_model(model, clone_function=copy_layer, recursive=True)
    for ours, theirs in zip(copy.variables, model.variables, strict=True):
        ours.assign(theirs)
    return copy
