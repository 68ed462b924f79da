"""Trains a model on CamVid with Keras' JAX backend, with all images and their changes on a GPU.

An epoch is one call of a compiled function, so that small models do not wait for Python:

    KERAS_BACKEND=jax python examples/camvid/train_on_jax.py --data-dir CamVid --epochs 600

It writes `history.csv`, `run.json`, the model with the moving average of the weights in half
precision, and its `inference.json` to the folder `--output`.
"""

import argparse
import csv
import functools
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import keras
import numpy as np
from jax import numpy as jnp

import pdanet_tf
from pdanet_tf.data import Classes, SegmentationDataset
from pdanet_tf.data.class_frequencies import compute_class_weights, count_classes
from pdanet_tf.inference.protocol import Protocol
from pdanet_tf.inference.settings import InferenceSettings
from pdanet_tf.losses import SegmentationCrossEntropy
from pdanet_tf.models import with_dtype_policy
from pdanet_tf.optimizers import SGD
from pdanet_tf.optimizers.schedules import LinearWarmup

Array = Any  # an array of JAX
# Trained variables, other variables, variables of the optimizer, and averages of the trained ones.
State = tuple[list[Array], list[Array], list[Array], list[Array]]
VOID = 255
MEAN_COLOR = np.array([123.675, 116.28, 103.53], "float32")


def read_split(split: str, folder: str) -> tuple[SegmentationDataset, np.ndarray, np.ndarray]:
    """Returns the images (n, height, width, 3) and label maps (n, height, width) as uint8."""
    dataset = pdanet_tf.load_dataset("camvid", split, folder)
    images, labels = zip(*map(dataset.read, range(len(dataset))), strict=True)
    return dataset, np.stack(images).astype("uint8"), np.stack(labels).astype("uint8")


def cut(
    key: Array, image: Array, label: Array, size: tuple[int, int], scales: tuple[float, float]
) -> tuple[Array, Array]:
    """Returns one random crop: scaled, moved, flipped and recoloured."""
    keys = jax.random.split(key, 7)
    scale = jnp.exp(
        jax.random.uniform(keys[0], minval=jnp.log(scales[0]), maxval=jnp.log(scales[1]))
    )
    free = jnp.array(size) - scale * jnp.array(label.shape)  # negative if something is cut off
    offset = free * jax.random.uniform(keys[1], (2,))
    # Outside the image is the mean colour.
    pixels = image.astype("float32") - MEAN_COLOR
    pixels = jax.image.scale_and_translate(
        pixels, (*size, 3), (0, 1), scale[None].repeat(2), offset, "linear", antialias=True
    )
    row, column = (
        jnp.floor((jnp.arange(side) + 0.5 - shift) / scale).astype("int32")
        for side, shift in zip(size, offset, strict=True)
    )
    inside = [(at >= 0) & (at < side) for at, side in zip((row, column), label.shape, strict=True)]
    label = label[jnp.clip(row, 0, label.shape[0] - 1)][:, jnp.clip(column, 0, label.shape[1] - 1)]
    label = jnp.where(inside[0][:, None] & inside[1], label.astype("int32"), VOID)
    pixels = pixels + MEAN_COLOR
    brightness, contrast, saturation = jax.random.uniform(keys[2], (3,), minval=0.7, maxval=1.3)
    pixels = pixels * brightness
    pixels = pixels.mean() + contrast * (pixels - pixels.mean())
    grey = pixels.mean(-1, keepdims=True)
    pixels = jnp.clip(grey + saturation * (pixels - grey), 0, 255)
    flips = jax.random.bernoulli(keys[3])
    return jnp.where(flips, pixels[:, ::-1], pixels), jnp.where(flips, label[:, ::-1], label)


def make_epoch(
    model: keras.Model, loss: SegmentationCrossEntropy, optimizer: SGD, options: argparse.Namespace
) -> Callable[..., tuple[State, Array]]:
    """Returns the compiled function that trains for one epoch."""
    crop = jax.vmap(functools.partial(cut, size=tuple(options.crop_size), scales=options.scales))

    def compute_loss(
        trainable: list[Array], others: list[Array], images: Array, labels: Array
    ) -> tuple[Array, list[Array]]:
        logits, others = model.stateless_call(trainable, others, images, training=True)
        total = loss(labels, logits["logits"]) + 0.4 * loss(labels, logits["aux_logits"])
        return total, others

    def step(
        state: State, given: tuple[Array, Array], images: Array, labels: Array
    ) -> tuple[State, Array]:
        trainable, others, variables, average = state
        chosen, key = given
        keys = jax.random.split(key, len(chosen))
        batch = crop(keys, images[chosen], labels[chosen])
        gradient = jax.value_and_grad(compute_loss, has_aux=True)
        (value, others), gradients = gradient(trainable, others, *batch)
        trainable, variables = optimizer.stateless_apply(variables, gradients, trainable)
        average = [
            options.average * mean + (1 - options.average) * now
            for mean, now in zip(average, trainable, strict=True)
        ]
        return (trainable, others, variables, average), value

    @functools.partial(jax.jit, donate_argnums=0)
    def epoch(state: State, key: Array, images: Array, labels: Array) -> tuple[State, Array]:
        order, others = jax.random.split(key)
        count = len(images) // options.batch_size
        chosen = jax.random.permutation(order, len(images))[: count * options.batch_size]
        chosen = chosen.reshape(count, options.batch_size)
        run = functools.partial(step, images=images, labels=labels)
        state, values = jax.lax.scan(run, state, (chosen, jax.random.split(others, count)))
        return state, values.mean()

    return epoch


def make_score(model: keras.Model, classes: int) -> Callable[..., tuple[float, list[float]]]:
    """Returns a function that computes the mean IoU and the IoU of each class."""

    @jax.jit
    def count(trainable: list[Array], others: list[Array], images: Array, labels: Array) -> Array:
        logits, _ = model.stateless_call(
            trainable, others, images.astype("float32"), training=False
        )
        found = logits["logits"].argmax(-1)
        cells = jnp.where(labels < classes, labels.astype("int32") * classes + found, classes**2)
        return jnp.bincount(cells.ravel(), length=classes**2 + 1)[:-1]

    def score(
        trainable: list[Array], others: list[Array], images: Array, labels: Array, batch: int = 8
    ) -> tuple[float, list[float]]:
        cells = np.zeros(classes**2, "int64")
        for at in range(0, len(images), batch):
            part = slice(at, at + batch)
            cells += np.asarray(count(trainable, others, images[part], labels[part]))
        total = cells.reshape(classes, classes)
        union = total.sum(0) + total.sum(1) - total.diagonal()
        each = total.diagonal() / np.maximum(union, 1)
        return float(each.mean()), each.tolist()

    return score


def write_model(folder: Path, name: str, classes: Classes, arrays: Mapping[str, Array]) -> None:
    """Writes the model for inference, in half precision, and the settings that `predict` reads.

    Args:
        folder: Where.
        name: Name of the model.
        classes: Names and colours of the classes.
        arrays: Values of the variables by their paths.
    """
    model = pdanet_tf.build_model(name, len(classes))
    for variable in model.variables:
        if "seed_generator" not in variable.path:
            variable.assign(arrays[variable.path])
    with_dtype_policy(model, "float16").save(folder / f"{name}.keras")
    InferenceSettings(classes, Protocol()).save(folder)


def main() -> None:
    """Trains, and writes the files."""
    parser = argparse.ArgumentParser(formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--data-dir", required=True, help="folder of CamVid")
    parser.add_argument("--output", type=Path, default="runs/camvid-jax", help="folder of the run")
    parser.add_argument("--model", default="pdanet_resnet18_half")
    parser.add_argument("--epochs", type=int, default=600)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--crop-size", type=int, nargs=2, default=(360, 480))
    parser.add_argument("--scales", type=float, nargs=2, default=(0.5, 2.0))
    parser.add_argument("--learning-rate", type=float, default=0.05)
    parser.add_argument("--weight-decay", type=float, default=5e-4)
    parser.add_argument("--warmup-steps", type=int, default=300)
    parser.add_argument("--average", type=float, default=0.999, help="momentum of the averages")
    parser.add_argument("--precision", default="mixed_bfloat16")
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--score-every", type=int, default=50, help="epochs between two scores")
    parser.add_argument("--seconds", type=float, help="stop after this time")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    started = time.time()
    keras.utils.set_random_seed(options.seed)
    dataset, *arrays = read_split("train", options.data_dir)
    train = [*map(jnp.asarray, arrays)]
    _, *arrays = read_split("validation", options.data_dir)
    validation = [*map(jnp.asarray, arrays)]
    classes = dataset.num_classes
    weights = compute_class_weights("log", count_classes(dataset), dataset.classes)
    model = pdanet_tf.build_model(
        options.model, classes, aux_head=True, dtype=options.precision, dropout=options.dropout
    )
    steps = options.epochs * (len(train[0]) // options.batch_size)
    rate = keras.optimizers.schedules.PolynomialDecay(
        options.learning_rate, steps - options.warmup_steps, 0.0, power=0.9
    )
    optimizer = SGD(
        LinearWarmup(rate, options.warmup_steps), weight_decay=options.weight_decay, nesterov=True
    )
    optimizer.build(model.trainable_variables)
    loss = SegmentationCrossEntropy(VOID, class_weights=weights)
    epoch = make_epoch(model, loss, optimizer, options)
    score = make_score(model, classes)
    state = tuple(
        [jnp.array(variable.value) for variable in variables]
        for variables in (
            model.trainable_variables,
            model.non_trainable_variables,
            optimizer.variables,
            model.trainable_variables,
        )
    )
    key, rows = jax.random.key(options.seed), []
    gammas = [index for index, v in enumerate(model.trainable_variables) if not v.shape]
    print(f"ready after {time.time() - started:.0f} s", flush=True)
    for number in range(1, options.epochs + 1):
        key, now = jax.random.split(key)
        state, value = epoch(state, now, *train)
        late = options.seconds is not None and time.time() - started > options.seconds
        if number % options.score_every and number not in (1, options.epochs) and not late:
            continue
        mean, each = score(state[3], state[1], *validation)
        rows.append(
            {
                "epoch": number,
                "seconds": round(time.time() - started, 1),
                "loss": float(value),
                "val_mean_iou": mean,
                **dict(zip(dataset.classes.names, each, strict=True)),
                **{model.trainable_variables[i].path: float(state[3][i]) for i in gammas},
            }
        )
        print(
            f"epoch {number}: {rows[-1]['seconds']} s, loss {float(value):.4f}, "
            f"mean IoU {mean:.4f}",
            flush=True,
        )
        with open(options.output / "history.csv", "w", newline="") as file:
            writer = csv.DictWriter(file, rows[-1])
            writer.writeheader()
            writer.writerows(rows)
        if not np.isfinite(float(value)):
            raise SystemExit("The loss is not finite")
        if late:
            break
    variables = [*model.trainable_variables, *model.non_trainable_variables]
    trained = dict(zip([each.path for each in variables], [*state[3], *state[1]], strict=True))
    write_model(options.output, options.model, dataset.classes, trained)
    content = {
        "options": {name: str(value) for name, value in vars(options).items()},
        "class_weights": weights,
        "device": str(jax.devices()[0].device_kind),
        "versions": {"jax": jax.__version__, "keras": keras.__version__},
        "last": rows[-1],
    }
    (options.output / "run.json").write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
