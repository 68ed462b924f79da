"""ONNX: conversion of TensorFlow graphs by tf2onnx, and execution by ONNX Runtime."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from pdanet_tf.base.extras import import_extra

_OPSET = 18
_EXTRA = "onnx"


def convert_to_onnx(graph: Any, metadata: Mapping[str, str] | None = None) -> bytes:
    """Converts a graph to ONNX.

    Args:
        graph: A concrete function of one tensor, from `trace_plain`, that returns a dict.
        metadata: Texts to store in the model, by name.

    Returns:
        The content of an `.onnx` file. Its outputs have the names in the dict.

    Raises:
        ImportError: If tf2onnx is not installed (extra `onnx`).
    """
    tfonnx = import_extra("tf2onnx.tfonnx", _EXTRA, "Conversion to ONNX")
    optimizer, tf_loader = (
        import_extra(f"tf2onnx.{name}", _EXTRA, "Conversion to ONNX")
        for name in ("optimizer", "tf_loader")
    )
    inputs = [graph.structured_input_signature[0][0].name + ":0"]
    outputs = [tensor.name for tensor in graph.outputs]
    names = dict(zip(outputs, sorted(graph.structured_outputs), strict=True))
    names[inputs[0]] = inputs[0].removesuffix(":0")
    frozen = tf_loader.from_function(graph, inputs, outputs)
    with tf.Graph().as_default() as plain:
        tf.import_graph_def(frozen, name="")
        converted = tfonnx.process_tf_graph(
            plain, opset=_OPSET, input_names=inputs, output_names=outputs, tensors_to_rename=names
        )
        # If it caught errors, it would copy the whole graph before each of its steps.
        model = optimizer.optimize_graph(converted, catch_errors=False).make_model("pdanet_tf")
    for name, text in (metadata or {}).items():
        model.metadata_props.add(key=name, value=text)
    return model.SerializeToString()


def open_onnx(content: bytes) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """Returns a function that runs a model in ONNX Runtime, on the CPU.

    Args:
        content: The content of an `.onnx` file with one input.

    Returns:
        A function from the input to the outputs by name. Several threads may call it.

    Raises:
        ImportError: If ONNX Runtime is not installed (extra `onnx`).
    """
    onnxruntime = import_extra("onnxruntime", _EXTRA, "Inference in ONNX Runtime")
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    (source,) = session.get_inputs()
    names = [output.name for output in session.get_outputs()]
    return lambda images: dict(zip(names, session.run(names, {source.name: images}), strict=True))
