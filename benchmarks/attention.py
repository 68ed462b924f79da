"""Compares DANet's head at 1000 x 1000 pixels with its attention in blocks and at once.

Each variant runs in a process of its own. The processes take turns in training steps of the head
alone (forward and backward pass), and measure the memory of a step. Run it from the root of the
repository, on Linux:

    python -m benchmarks.attention [--size 1000 1000] [--rounds 5]
"""

import argparse
import contextlib
import functools
import os
import statistics

# TensorFlow logs its CPU features and missing GPUs. Set this before TensorFlow is imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf
from rich.console import Console
from rich.table import Table

from pdanet_tf.base.types import Tensor
from pdanet_tf.benchmark.cases import Case
from pdanet_tf.benchmark.machine import describe_machine
from pdanet_tf.benchmark.runner import Runner, Step, take_turns
from pdanet_tf.layers import DualAttention, PositionAttention
from pdanet_tf.ops.portable import plain_operations

NUM_CLASSES = 150
WAYS = ("none", "in blocks", "at once")


class PlainPositionAttention(PositionAttention):
    """Position attention that computes the energies of all positions at once."""

    def call(self, inputs: Tensor) -> Tensor:
        """Applies attention over all positions."""
        with plain_operations():
            return super().call(inputs)


def prepare_head(case: Case, way: str) -> Step:
    """Builds DANet's head, and returns a function that computes its outputs and gradients."""
    keras.utils.set_random_seed(0)
    head = DualAttention(NUM_CLASSES, logits=True)
    if way == "none":  # measures the rest of the head
        head.position_attention = keras.layers.Identity()
    elif way == "at once":
        head.position_attention = PlainPositionAttention()
    head.build((None, None, None, 512))

    def gradients(features: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(features)
            loss = tf.reduce_mean(tf.square(head(features, training=True)))
        variables = [variable.value for variable in head.trainable_variables]
        first, *rest = tape.gradient(loss, [features, *variables], unconnected_gradients="zero")
        return tf.add_n([tf.reduce_sum(first), *map(tf.reduce_sum, rest)])

    graph = tf.function(gradients, input_signature=[tf.TensorSpec((None, None, None, 512))])

    @functools.cache
    def features(size: tuple[int, int]) -> tf.Tensor:
        shape = (case.batch_size, *(-(-side // 8) for side in size), 512)
        return tf.constant(np.random.default_rng(0).standard_normal(shape), tf.float32)

    return lambda size: graph(features(size)).numpy()


def main() -> None:
    """Measures and prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--size", type=int, nargs=2, default=(1000, 1000), help="height and width")
    parser.add_argument("--rounds", type=int, default=5, help="steps of each")
    options = parser.parse_args()
    case = Case("danet_resnet18", size=tuple(options.size))
    with contextlib.ExitStack() as stack:
        runners = [
            stack.enter_context(Runner(case, functools.partial(prepare_head, way=way)))
            for way in WAYS
        ]
        times = dict(zip(WAYS, take_turns(runners, options.rounds), strict=True))
    memory = {way: runner.memory for way, runner in zip(WAYS, runners, strict=True)}
    table = Table("position attention", "ms", "memory, MiB", "of the attention, MiB")
    for way in WAYS:
        table.add_row(
            way,
            f"{1000 * statistics.median(times[way]):.0f}",
            f"{memory[way]:.0f}",
            f"{memory[way] - memory['none']:.0f}",
        )
    console = Console()
    console.print(table)
    blocks, once = (statistics.median(times[way]) for way in WAYS[1:])
    extra = [memory[way] - memory["none"] for way in WAYS[1:]]
    console.print(
        f"In blocks: {blocks / once:.2f} of the time, {extra[0] / extra[1]:.3f} of the attention's "
        f"memory, {memory['in blocks'] / memory['at once']:.3f} of the head's."
    )
    console.print(describe_machine("tensorflow", "keras"))


if __name__ == "__main__":
    main()
