"""Measures losses at the size of the labels: time and memory of value and gradient.

    python -m benchmarks.losses --rounds 3

"image by image" is what the losses do with small logits: they upsample the logits of one image at
a time. "at once" upsamples the logits of the whole batch before the loss. Every measurement has a
process of its own; both ways take turns. Times are those of the processor, summed over the cores,
which other work on the machine hardly changes. The table is printed as Markdown.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time

BATCH, CLASSES = 8, 150
SMALL, LARGE = (45, 60), (360, 480)
LOSSES = ("ce", "ohem", "focal", "dice", "ce+dice")
WAYS = ("image by image", "at once")
_STEPS = 5


def measure(name: str, way: str) -> dict[str, float]:
    """Measures in this process; returns CPU seconds per step and the peak of memory in MiB."""
    import numpy as np
    import tensorflow as tf

    from pdanet_tf.losses import make_loss
    from pdanet_tf.ops.resize import bilinear_resize

    rng = np.random.default_rng(0)
    labels = tf.constant(rng.integers(0, CLASSES, (BATCH, *LARGE)), "int32")
    logits = tf.constant(rng.standard_normal((BATCH, *SMALL, CLASSES)), "float32")
    loss = make_loss(name)

    def gradient(logits: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(logits)
            resized = bilinear_resize(logits, LARGE) if way == "at once" else logits
            value = loss(labels, resized)
        return tape.gradient(value, logits)

    step = tf.function(gradient)
    before = _peak()
    seconds = []
    for _ in range(_STEPS):
        started = time.process_time()
        step(logits).numpy()
        seconds.append(time.process_time() - started)
    return {"seconds": statistics.median(seconds[1:]), "memory": _peak() - before}


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Runs the measurements and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only:
        print(json.dumps(measure(*arguments.only)))
        return
    print("| loss | " + " | ".join(f"{way}: CPU s | MiB" for way in WAYS) + " | ratio of times |")
    print("| --- |" + " --- |" * 5)
    for name in LOSSES:
        found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
        for _ in range(arguments.rounds):
            for way in WAYS:
                command = [sys.executable, "-m", "benchmarks.losses", "--only", name, way]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                found[way].append(json.loads(done.stdout.splitlines()[-1]))
        cells, times = [], []
        for rows in found.values():
            times.append(statistics.median(row["seconds"] for row in rows))
            memory = statistics.median(row["memory"] for row in rows)
            cells += [f"{times[-1]:.2f}", f"{memory:,.0f}"]
        print(f"| {name} | {' | '.join(cells)} | {times[1] / times[0]:.1f} |", flush=True)


if __name__ == "__main__":
    main()
