"""What an export needs to know beside the weights: classes, protocol and pixel format."""

import keras

from pdanet_tf.base.pixel_format import PixelFormat
from pdanet_tf.base.wording import quantity
from pdanet_tf.data.classes import Classes
from pdanet_tf.inference.protocol import Protocol
from pdanet_tf.inference.settings import InferenceSettings
from pdanet_tf.models.inspection import check_channels, count_classes, default_pixel_format


def complete_settings(
    model: keras.Model,
    stored: InferenceSettings | None,
    protocol: Protocol | None,
    pixel_format: PixelFormat | None,
    classes: Classes | None,
) -> InferenceSettings:
    """Returns the settings of an export: those that are given, else those of the model.

    Args:
        model: The model.
        stored: The settings that belong to its weights, or None.
        protocol: The given protocol, or None.
        pixel_format: The given pixel format, or None.
        classes: The given classes, or None.

    Raises:
        ValueError: If the protocol has windows, or the model takes images of other channels or has
            another number of classes.
    """
    protocol = protocol or (Protocol() if stored is None else stored.protocol)
    if protocol.crop_size is not None:
        raise ValueError(
            "An exported model does not support sliding windows. Export it without crop_size. "
            f"Received: crop_size={protocol.crop_size}"
        )
    if pixel_format is None:
        pixel_format = default_pixel_format(model) if stored is None else stored.pixel_format
    check_channels(model, pixel_format)
    num_classes = count_classes(model)
    if classes is None:
        classes = Classes.numbered(num_classes) if stored is None else stored.classes
    if len(classes) != num_classes:
        raise ValueError(
            f"The model has {quantity(num_classes, 'class', 'classes')}. "
            f"Received: {quantity(len(classes), 'class', 'classes')}"
        )
    return InferenceSettings(classes, protocol, pixel_format)
