"""A network in another runtime, for `pdanet_tf.Predictor`."""

from collections.abc import Callable

import keras
import numpy as np

from pdanet_tf.base.extras import import_extra
from pdanet_tf.models import fold_batch_norm, with_dtype_policy
from pdanet_tf.models.inspection import count_channels, logits_of
from pdanet_tf.ops.backend import require_tensorflow

LogitsFunction = Callable[[np.ndarray], np.ndarray]


def computing_precision(model: keras.Model) -> str:
    """Returns the precision of most layers of a model: "float32", "bfloat16" or "float16"."""
    dtypes = [layer.compute_dtype for layer in model.layers]
    return max(set(dtypes), key=dtypes.count)


def convert_network(network: keras.Model, runtime: str) -> LogitsFunction:
    """Converts a network, and returns it as a function that another runtime runs.

    Batch norm is folded into the kernels before. The conversion takes seconds.

    Args:
        network: A functional model from pixels to logits, or to a dict with "logits".
        runtime: "onnxruntime" or "openvino".

    Returns:
        A function from pixels `(batch, height, width, channels)`, float32, to logits, float32.
        Several threads may call it.

    Raises:
        ImportError: If the runtime, or what converts to its format, is not installed.
        RuntimeError: If Keras runs on another backend than TensorFlow.
        ValueError: If the runtime does not compute in the network's precision.
    """
    require_tensorflow(f"Conversion to the runtime {runtime}")
    extra = {"onnxruntime": "onnx", "openvino": "openvino"}[runtime]
    import_extra(runtime, extra, f"The runtime {runtime}")
    precision = computing_precision(network)
    supported = {"onnxruntime": ("float32",), "openvino": ("float32", "bfloat16")}[runtime]
    if precision not in supported:
        raise ValueError(
            f"The runtime {runtime} computes in {' or '.join(supported)}. Received: a model in "
            f"{precision}"
        )
    import tensorflow as tf

    from pdanet_tf.runtimes import onnx, openvino
    from pdanet_tf.runtimes.graphs import trace_plain

    # OpenVINO computes in bfloat16 by itself.
    plain = network if precision == "float32" else with_dtype_policy(network, "float32")
    plain = fold_batch_norm(plain)
    signature = tf.TensorSpec((None, None, None, count_channels(network)), tf.float32, "images")
    graph = trace_plain(
        lambda images: {"logits": tf.cast(logits_of(plain(images, training=False)), tf.float32)},
        signature,
    )
    if runtime == "onnxruntime":
        run = onnx.open_onnx(onnx.convert_to_onnx(graph))
    else:
        run = openvino.open_openvino(openvino.convert_to_openvino(graph), precision)
    return lambda images: run(images)["logits"]
