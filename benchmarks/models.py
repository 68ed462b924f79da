"""Writes a table of the registered models: size, operations, verification and speed.

Run it from the root of the repository:

    python -m benchmarks.models [--size 512] [--rounds 5] [--models NAME ...] [--output FILE]
"""

import argparse
import functools
import gc
import itertools
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# TensorFlow logs its CPU features and missing GPUs. Set this before TensorFlow is imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf
from rich.console import Console
from rich.progress import track

import pdanet_tf
from benchmarks.pages import markdown_table, page
from pdanet_tf import backbones, layers
from pdanet_tf.base.types import Tensor
from pdanet_tf.benchmark.flops import count_flops
from pdanet_tf.benchmark.machine import describe_machine
from pdanet_tf.files import write_atomically
from pdanet_tf.models.registry import find_model
from pdanet_tf.weights.imagenet import load_keras_vgg16
from tests.support import golden_models as golden

Predict = Callable[[Tensor], Tensor]  # from images to logits
BASELINE = "pdanet_resnet18"
LONGEST = 60  # seconds of timing one model, after which no further round begins
OUTPUT = Path(__file__).resolve().parents[1] / "docs" / "models.md"


def reference_difference(name: str) -> float:
    """Returns the largest difference from the outputs that the reference's code computed."""
    differences = []
    for file, (model_name, _) in golden.MODELS.items():
        if model_name == name:
            values = golden.values(file)
            outputs = golden.reference_model(file)(golden.images(values))
            if not isinstance(outputs, dict):
                outputs = {"logits": outputs}
            for key, stored in (("logits", "log_probs"), ("aux_logits", "log_probs_deepsup")):
                if key in outputs:
                    found = keras.ops.log_softmax(outputs[key], axis=-1)
                    differences.append(np.abs(found - values[stored]).max())
    return max(differences)


def atrous_difference(name: str) -> float:
    """Returns how much subsampled backbone features at stride 8 differ from those at stride 32."""
    return _atrous_difference(find_model(name).backbone_name)


@functools.cache
def _atrous_difference(backbone_name: str) -> float:
    entries = map(find_model, pdanet_tf.list_models())
    backbone = next(each.backbone for each in entries if each.backbone_name == backbone_name)
    strided, dilated = backbone(output_stride=32), backbone(output_stride=8)
    dilated.set_weights(strided.get_weights())
    images = _normal(1, 97, 65, 3)
    return _relative_difference(dilated(images)["C5"][:, ::4, ::4], strided(images)["C5"])


def vgg16_difference(name: str) -> float:
    """Returns how much the stages of VGG16 differ from `keras.applications`, with equal weights."""
    del name  # only the backbone is compared
    theirs = keras.applications.VGG16(include_top=False, weights=None)
    for weight in theirs.weights:
        if weight.path.endswith("bias"):
            weight.assign(0.1 * _normal(*weight.shape))
    ours = backbones.vgg16()
    load_keras_vgg16(ours, theirs)
    pools = {f"C{block}": theirs.get_layer(f"block{block}_pool").output for block in range(1, 6)}
    images = _normal(1, 64, 96, 3)
    found = ours(images)
    return max(
        _relative_difference(found[stage], expected)
        for stage, expected in keras.Model(theirs.input, pools)(images).items()
    )


def skip_difference(name: str) -> float:
    """Returns how much a new FCN-16s or FCN-8s differs from the upsampled scores of FCN-32s."""
    options: dict[str, Any] = {"num_classes": 5, "upsample": False}
    coarse = pdanet_tf.build_model("fcn32s_vgg16", **options)
    fine = pdanet_tf.build_model(name, **options)
    for layer in coarse.layers:
        fine.get_layer(layer.name).set_weights(layer.get_weights())
    images = np.random.default_rng(0).integers(0, 256, (1, 64, 96, 3)).astype("uint8")
    expected, found = coarse(images), fine(images)
    while expected.shape[1] < found.shape[1]:
        height, width = expected.shape[1:3]
        expected = tf.image.resize(expected, (2 * height, 2 * width))
    return _relative_difference(found, expected)


def context_difference(name: str) -> float:
    """Returns how much the outputs of a new context module without noise differ from its inputs."""
    inputs = np.random.default_rng(0).random((2, 9, 7, 3)).astype("float32")
    variant = find_model(name).options["context"]
    return _relative_difference(layers.ContextModule(variant, noise=0.0)(inputs), inputs)


def unpooling_difference(name: str) -> float:
    """Returns how much pooled and unpooled features differ from the maxima among zeros."""
    del name  # only pooling and unpooling are compared
    inputs = np.abs(_normal(2, 33, 47, 64))
    pooled, mask = layers.MaxPoolingWithMask()(inputs)
    restored = layers.MaxUnpooling()([pooled, mask])
    maxima = tf.nn.max_pool2d(inputs, 2, 2, "SAME")
    repeated = np.repeat(np.repeat(maxima, 2, axis=1), 2, axis=2)[:, :33, :47]
    expected = np.where(inputs == repeated, inputs, 0)
    return max(_relative_difference(pooled, maxima), _relative_difference(restored, expected))


def parameter_difference(name: str) -> float:
    """Returns the difference from the published number of parameters of VGG16."""
    model = pdanet_tf.build_model(name)
    expected = 138_357_544 + (4096 + 1) * (model.output.shape[-1] - 1000)
    return abs(model.count_params() - expected)


@dataclass(frozen=True)
class Check:
    """A verification of a model.

    Attributes:
        title: Its name in the table.
        meaning: What is compared, and which test does it.
        difference: A function from a model's name to the largest difference.
    """

    title: str
    meaning: str
    difference: Callable[[str], float]


REFERENCE = Check(
    "reference's outputs",
    "compares log-probabilities with those that the reference's PyTorch code computed from the "
    "same images and weights, with and without deep supervision if both are known; absolute "
    "difference (`tests/models/test_golden.py`, `test_model`).",
    reference_difference,
)
ATROUS = Check(
    "atrous identity of the backbone",
    "compares subsampled features at output stride 8 with those of the strided network with the "
    "same weights; in units of their standard deviation (`tests/models/test_models.py`, "
    "`test_dilated_features_subsampled_equal_those_of_the_strided_network`).",
    atrous_difference,
)
SKIPS = Check(
    "equal to FCN-32s at the start",
    "compares scores of a new model with the upsampled scores of FCN-32s; in units of their "
    "standard deviation (`tests/models/test_models.py`, "
    "`test_a_new_fcn8s_predicts_what_fcn32s_does`).",
    skip_difference,
)
CONTEXT = Check(
    "context module is an identity at the start",
    "compares outputs of a new context module without noise with its inputs; in units of their "
    "standard deviation (`tests/layers/test_layers.py`, "
    "`test_a_context_module_without_noise_is_the_identity`).",
    context_difference,
)
# By family. Families that are not listed are verified by the atrous identity.
CHECKS = {
    "dilation_basic": CONTEXT,
    "dilation_large": CONTEXT,
    "dilation_frontend": Check(
        "number of parameters only",
        "compares with the published number of VGG16, for the same number of classes "
        "(`tests/models/test_models.py`, `test_exact_number_of_parameters`).",
        parameter_difference,
    ),
    "fcn32s": Check(
        "backbone equal to Keras' VGG16",
        "compares features of all stages with those of `keras.applications.VGG16` with the same "
        "weights; in units of their standard deviation (`tests/weights/test_imagenet.py`, "
        "`test_a_vgg16_of_keras_has_the_same_features`).",
        vgg16_difference,
    ),
    "fcn16s": SKIPS,
    "fcn8s": SKIPS,
    "segnet": Check(
        "unpooling",
        "compares unpooled features with features in which all but the maxima are zero; in units "
        "of their standard deviation (`tests/layers/test_layers.py`, "
        "`test_unpooling_puts_every_maximum_back`).",
        unpooling_difference,
    ),
}


def find_check(name: str) -> Check:
    """Returns the verification of a model.

    Raises:
        LookupError: If there is none.
    """
    if name in _compared_with_the_reference():
        return REFERENCE
    entry = find_model(name)
    if entry.family.__name__ in CHECKS:
        return CHECKS[entry.family.__name__]
    if "output_stride" not in entry.backbone.options:
        raise LookupError(f"CHECKS has no entry for {name}")
    return ATROUS


def _compared_with_the_reference() -> list[str]:
    return sorted({model_name for model_name, _ in golden.MODELS.values()})


def _normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype("float32")


def _relative_difference(found: Tensor, expected: Tensor) -> float:
    found, expected = np.asarray(found), np.asarray(expected)
    return np.abs(found - expected).max() / expected.std()


@dataclass(frozen=True)
class Row:
    """Measurements of a model.

    Attributes:
        name: Its name.
        parameters: Number of parameters.
        flops: Floating point operations of one forward pass.
        check: Its verification.
        difference: The largest difference that the check found.
        seconds: Times of forward passes of the baseline and the model in turns; the first and the
            last one are of the baseline.
    """

    name: str
    parameters: int
    flops: int
    check: Check
    difference: float
    seconds: Sequence[float]

    @property
    def ratios(self) -> list[float]:
        """The model's times divided by the baseline's before and after each, in ascending order."""
        around = itertools.pairwise(self.seconds[::2])
        own = self.seconds[1::2]
        return sorted(time / statistics.mean(pair) for time, pair in zip(own, around, strict=True))

    @property
    def cells(self) -> list[str]:
        """The cells of the table's row."""
        entry = find_model(self.name)
        compared = _compared_with_the_reference()
        kin = [name for name in compared if find_model(name).family is entry.family]
        heads = f"; head as in {_code(kin)}" if kin and self.check is not REFERENCE else ""
        return [
            f"`{self.name}`",
            f"`{entry.backbone_name}`",
            f"{self.parameters / 1e6:.2f} M",
            f"{self.flops / 1e9:.1f}",
            self.check.title + heads,
            f"{self.difference:.1e}" if self.difference else "0",
            f"{statistics.median(self.ratios):.2f}",
            f"{self.ratios[0]:.2f} to {self.ratios[-1]:.2f}",
        ]


HEADINGS = (
    "model",
    "backbone",
    "parameters",
    "GFLOPs",
    "verified by",
    "largest difference",
    "time",
    "its range",
)


def _code(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def compile_prediction(model: keras.Model) -> Predict:
    """Returns the model as a graph, in inference mode."""
    return tf.function(lambda images: model(images, training=False))


def time_in_turns(predict: Predict, baseline: Predict, images: Tensor, rounds: int) -> list[float]:
    """Returns the seconds of each call; the first and the last call are of the baseline."""
    times = [_seconds(baseline, images)]
    for _ in range(rounds):
        times += [_seconds(predict, images), _seconds(baseline, images)]
        if sum(times) > LONGEST:
            break
    return times


def _seconds(function: Predict, images: Tensor) -> float:
    start = time.perf_counter()
    function(images)
    return time.perf_counter() - start


def measure(name: str, check: Check, size: int, rounds: int, baseline: Predict) -> Row:
    """Measures one model, then frees its memory."""
    keras.utils.set_random_seed(0)
    difference = check.difference(name)
    _free_memory()
    model = pdanet_tf.build_model(name)
    images = tf.random.uniform((1, size, size, 3), 0, 255)
    predict = compile_prediction(model)
    for function in (predict, baseline):  # the first call traces the graph
        function(images)
    row = Row(
        name,
        model.count_params(),
        count_flops(model, (size, size)),
        check,
        difference,
        time_in_turns(predict, baseline, images, rounds),
    )
    del model, predict
    _free_memory()
    return row


def _free_memory() -> None:
    keras.backend.clear_session()
    gc.collect()


def render(rows: Sequence[Row], size: int, rounds: int) -> str:
    """Returns the page in Markdown: the table and its explanation."""
    checks = {row.check.title: row.check for row in rows}
    baseline = statistics.median(seconds for row in rows for seconds in row.seconds[::2])
    paragraphs = [
        "Written by `python -m benchmarks.models`; do not edit. The models are those of "
        "`build_model(name)`: 150 classes, logits of the image's size.",
        markdown_table(HEADINGS, [row.cells for row in rows]),
        f"**GFLOPs**: billions of floating point operations of one forward pass for an image of "
        f"{size} x {size}. A multiply-add counts as two. Convolutions (including taps that read "
        "padding) and matrix products (including those of resizing and pooling) are counted; "
        "batch norm, activations, softmax, sums and maxima are not "
        "(`pdanet_tf.benchmark.flops.count_flops`).",
        f"**Time** of one forward pass for one image of {size} x {size} in float32 on the CPU, "
        f"divided by that of `{BASELINE}`: the median and the range of {rounds} passes (fewer if "
        f"they take more than {LONGEST} s). Each is divided by the mean of one pass of "
        f"`{BASELINE}` before it and one after it, whose median is {baseline:.2f} s. The row of "
        f"`{BASELINE}` compares two copies of that model: its difference from 1 is noise. "
        f"Measured on {describe_machine('tensorflow', 'keras')}.",
        '**Verified by**: the program measures the difference again. "Head as in" names models '
        "that have the same head and are compared with the reference. In addition, a test compares "
        "the number of parameters of each model with a formula (`tests/models/test_models.py`, "
        "`test_exact_number_of_parameters`).",
        *(f"*{title}*: {check.meaning}" for title, check in sorted(checks.items())),
    ]
    return page("The models in numbers", *paragraphs)


def main() -> None:
    """Measures the models one by one and writes the table."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    names = pdanet_tf.list_models()
    parser.add_argument("--size", type=int, default=512, help="side of the image in pixels")
    parser.add_argument("--rounds", type=int, default=5, help="number of timed passes, at most")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="the file")
    parser.add_argument(
        "--models", nargs="+", choices=names, metavar="NAME", help="models; all by default"
    )
    options = parser.parse_args()
    if options.size < 1 or options.rounds < 1:
        parser.error("--size and --rounds must be at least 1")
    checks = {name: find_check(name) for name in options.models or names}
    tf.config.set_visible_devices([], "GPU")
    console = Console()
    baseline = compile_prediction(pdanet_tf.build_model(BASELINE))
    baseline(tf.zeros((1, options.size, options.size, 3)))  # traces the graph
    rows = []
    for name, check in track(checks.items(), "Models", total=len(checks), console=console):
        rows.append(measure(name, check, options.size, options.rounds, baseline))
        console.print(*rows[-1].cells, sep="  ", markup=False, soft_wrap=True)
    write_atomically(options.output, render(rows, options.size, options.rounds))
    console.print(f"The table is in {options.output}")


if __name__ == "__main__":
    main()
