"""OpenVINO: conversion of TensorFlow graphs, quantisation by NNCF, and execution."""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pdanet_tf.base.extras import import_extra

_EXTRA = "openvino"
# Operations between convolutions that stay in float32: if they are quantised, too, the mean IoU of
# PDANet falls by half (docs/runtimes.md). Convolutions take nearly all the time.
_FLOAT_TYPES = (
    "Add",
    "AvgPool",
    "Concat",
    "Divide",
    "MatMul",
    "MaxPool",
    "Multiply",
    "ReduceMean",
    "Softmax",
    "Subtract",
)
_PRECISIONS = {"float32": "f32", "bfloat16": "bf16"}


def convert_to_openvino(graph: Any) -> Any:
    """Converts a graph to a model of OpenVINO.

    Args:
        graph: A concrete function of one tensor, from `trace_plain`, that returns a dict.

    Returns:
        An `openvino.Model`. Its outputs have the names in the dict.

    Raises:
        ImportError: If OpenVINO is not installed (extra `openvino`).
    """
    openvino = import_extra("openvino", _EXTRA, "Conversion to OpenVINO")
    return openvino.convert_model(graph)


def save_openvino(model: Any, file: Path, metadata: Mapping[str, str]) -> None:
    """Writes a model as an `.xml` file, and its weights as a `.bin` file beside it.

    Args:
        model: An `openvino.Model`.
        file: The `.xml` file.
        metadata: Texts to store as runtime information of the model, by name.
    """
    openvino = import_extra("openvino", _EXTRA, "OpenVINO")
    for name, text in metadata.items():
        model.set_rt_info(text, name)
    openvino.save_model(model, file, compress_to_fp16=False)


def quantize_openvino(model: Any, images: Iterable[np.ndarray], excluded: Sequence[str]) -> Any:
    """Quantises the convolutions of a model to int8 by NNCF's post-training quantisation.

    Args:
        model: An `openvino.Model`; it is unchanged.
        images: Inputs of the model, from which NNCF finds the range of each tensor.
        excluded: Parts of the names of the operations that stay in float32.

    Returns:
        The quantised `openvino.Model`.

    Raises:
        ImportError: If NNCF is not installed (extra `openvino`).
    """
    nncf = import_extra("nncf", _EXTRA, "int8 for OpenVINO")
    inputs = list(images)
    return nncf.quantize(
        model,
        nncf.Dataset(inputs),
        subset_size=len(inputs),
        ignored_scope=nncf.IgnoredScope(
            patterns=[f".*{part}.*" for part in excluded], types=list(_FLOAT_TYPES), validate=False
        ),
    )


def open_openvino(
    model: Any, precision: str = "float32"
) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """Returns a function that runs a model in OpenVINO, on the CPU.

    Args:
        model: An `openvino.Model` with one input, or the path of an `.xml` file.
        precision: The precision that it computes in: "float32" or "bfloat16".

    Returns:
        A function from the input to the outputs by name. Several threads may call it.

    Raises:
        ImportError: If OpenVINO is not installed (extra `openvino`).
    """
    openvino = import_extra("openvino", _EXTRA, "Inference in OpenVINO")
    # Without the first hint, OpenVINO takes bfloat16 on processors that have it.
    hints = {"INFERENCE_PRECISION_HINT": _PRECISIONS[precision], "PERFORMANCE_HINT": "LATENCY"}
    compiled = openvino.compile_model(model, "CPU", hints)
    requests = threading.local()

    def run(images: np.ndarray) -> dict[str, np.ndarray]:
        if not hasattr(requests, "own"):  # a request serves one call at a time
            requests.own = compiled.create_infer_request()
        outputs = requests.own.infer([images])
        return {output.any_name: array for output, array in outputs.items()}

    return run
