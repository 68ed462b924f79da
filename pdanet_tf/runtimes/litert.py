"""LiteRT: conversion of TensorFlow graphs, quantisation, and execution."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import tensorflow as tf

from pdanet_tf.base.extras import import_extra


def convert_to_litert(graph: Any, images: Iterable[np.ndarray] | None = None) -> bytes:
    """Converts a graph of fixed shapes to LiteRT, by TensorFlow's converter.

    Args:
        graph: A concrete function of one tensor, from `trace_plain`, that returns a dict.
        images: Inputs of the graph, from which the converter finds the range of each tensor for
            int8; operations without an int8 kernel stay in float32. None for float32.

    Returns:
        The content of a `.tflite` file.
    """
    # Only a graph of a trackable object keeps the names of its input and its outputs.
    owner = tf.Module()
    owner.captured = list(graph.variables)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([graph], owner)
    if images is not None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([image] for image in images)
    return converter.convert()


def open_litert(content: bytes, threads: int) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """Returns a function that runs a model in LiteRT.

    Args:
        content: The content of a `.tflite` file with one input.
        threads: Number of threads.

    Returns:
        A function from the input to the outputs by name. One thread at a time may call it.

    Raises:
        ImportError: If LiteRT is not installed (extra `litert`).
    """
    litert = import_extra("ai_edge_litert.interpreter", "litert", "Inference in LiteRT")
    interpreter = litert.Interpreter(model_content=content, num_threads=threads)
    runner = interpreter.get_signature_runner()
    (source,) = runner.get_input_details()
    return lambda images: runner(**{source: images})
