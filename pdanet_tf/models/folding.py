"""Models for prediction alone, with batch norm folded into the convolutions."""

import keras

from pdanet_tf.layers import ConvBatchNorm


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
    copy = keras.models.clone_model(model)
    for ours, theirs in zip(copy.variables, model.variables, strict=True):
        ours.assign(theirs)
    for layer in copy._flatten_layers(include_self=False):
        if isinstance(layer, ConvBatchNorm):
            layer.fold_batch_norm()
    return copy
