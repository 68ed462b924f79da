"""The number of floating-point operations of a model's inference."""

import math
from typing import Any

import keras

from pdanet_tf.base.types import Tensor
from pdanet_tf.ops.backend import require_tensorflow
from pdanet_tf.ops.portable import plain_operations


def count_flops(model: keras.Model, size: tuple[int, int] = (512, 512)) -> int:
    """Counts the floating-point operations of inference on one image; a multiply-add counts as two.

    It counts convolutions (including dilated, grouped, depthwise and transposed ones) and matrix
    products, which include resizing and pooling. Taps that read padding count like all others, and
    a Winograd convolution counts like the direct one, although it multiplies less. It does not
    count layers that take only a few operations per value: batch norm, activations, softmax, sums
    and maxima.

    Nothing is computed: the model is traced for one image, and the shapes give the numbers.

    Args:
        model: A model from images `(batch, height, width, channels)` to outputs of any kind.
        size: (height, width) of the image in pixels.

    Returns:
        The number of operations, in inference mode, for a batch of one image.

    Raises:
        ValueError: If a side is below 1, or if a shape depends on more than the size of the image.
        RuntimeError: If Keras runs on another backend than TensorFlow.

    Example:
        ```python
        model = pdanet_tf.build_model("pdanet_resnet18")
        print(f"{count_flops(model, (512, 512)) / 1e9:.1f} GFLOPs")
        ```
    """
    require_tensorflow("Counting operations")
    if min(size) < 1:
        raise ValueError(f"size must be (height, width), both at least 1. Received: size={size}")
    import tensorflow as tf

    image = model.inputs[0]
    spec = tf.TensorSpec((1, *size, image.shape[-1]), image.dtype)
    run_eagerly = tf.config.functions_run_eagerly()
    # Keras wraps some operations in functions of their own, whose operations would not be found.
    tf.config.run_functions_eagerly(True)
    try:
        predict = tf.function(lambda images: model(images, training=False))
        with plain_operations():
            graph = predict.get_concrete_function(spec).graph
    finally:
        tf.config.run_functions_eagerly(run_eagerly)
    return sum(2 * _multiply_adds(operation) for operation in graph.get_operations())


# TensorFlow's own profiler ignores `Einsum` and the transposition in a `BatchMatMul`, and it counts
# the padding that `_unpadded` describes.
def _multiply_adds(operation: Any) -> int:
    match operation.type:
        case "Conv2D":  # kernel: (height, width, channels of the group, filters)
            return _values(_unpadded(operation)) * math.prod(operation.inputs[1].shape[:3])
        case "DepthwiseConv2dNative":
            return _values(_unpadded(operation)) * math.prod(operation.inputs[1].shape[:2])
        case "Conv2DBackpropInput":  # transposed: each input is multiplied by all taps
            return _values(operation.inputs[2]) * math.prod(operation.inputs[1].shape[:3])
        case "MatMul":
            return _products(operation, "transpose_a")
        case "BatchMatMulV2":
            return _products(operation, "adj_x")
        case "Einsum" if len(operation.inputs) == 2:
            return _values(operation.outputs[0]) * _contracted_values(operation)
    return 0


def _values(tensor: Tensor) -> int:
    if not tensor.shape.is_fully_defined():
        raise ValueError(
            "Operations can be counted only if all shapes follow from the image's size. "
            f"Received: {tensor.op.name!r} of the shape {tensor.shape}"
        )
    return tensor.shape.num_elements()


def _unpadded(convolution: Any) -> Tensor:
    """Returns the result of a convolution without the values that stem from padding.

    TensorFlow replaces a dilated convolution by one without dilation on a batch of subsampled
    images, which it pads to equal sizes. The next operation drops the values of the padding.
    """
    outputs = convolution.outputs[0]
    joined = (user for user in outputs.consumers() if user.type == "BatchToSpaceND")
    return next((user.outputs[0] for user in joined), outputs)


def _products(operation: Any, transposed: str) -> int:
    rows, columns = operation.inputs[0].shape[-2:]
    return _values(operation.outputs[0]) * (rows if operation.get_attr(transposed) else columns)


def _contracted_values(einsum: Any) -> int:
    """Returns how many products are summed for one value of the result.

    A label of only one of the two terms that is not in the result is summed beforehand.
    """
    terms, _, result = einsum.get_attr("equation").decode().partition("->")
    first, second = terms.split(",")
    before, _, after = first.partition("...")
    shape = einsum.inputs[0].shape.as_list()
    sizes = dict(zip(before, shape, strict=False))
    sizes |= zip(reversed(after), reversed(shape), strict=False)
    return math.prod(
        size for label, size in sizes.items() if label in second and label not in result
    )
