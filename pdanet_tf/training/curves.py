"""Learning curves: what the history has beside the metrics, and the image of all of it."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import keras
from rich.console import Console

from pdanet_tf.charts import LineChart, line_charts, render
from pdanet_tf.files import one_line, whole_file
from pdanet_tf.training.callbacks import MONITOR, TRAINING_MEAN_IOU
from pdanet_tf.training.progress import Progress
from pdanet_tf.training.run_folder import RunFolder

LEARNING_RATE = "learning_rate"
_GAMMA = "gamma_"  # beginning of the names of attention scales
# Name of a line: the columns that it can be in. The second is that of a model with two outputs.
_LOSSES = {"training": ("loss",)}
_MEAN_IOUS = {"training": TRAINING_MEAN_IOU, "validation": (MONITOR,)}
_RATES = {"learning rate": (LEARNING_RATE,)}


class LogState(keras.callbacks.Callback):
    """Adds the learning rate and the attention scales to the logs of every epoch.

    `learning_rate` is the rate after the last step of the epoch, as in Keras' TensorBoard callback.
    `gamma_NAME` are the scales that `attention_scales` finds, at the end of the epoch. The callback
    must come before those that read the logs.
    """

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Adds the values to the logs."""
        if logs is None:
            return
        logs[LEARNING_RATE] = float(self.model.optimizer.learning_rate)
        for name, scale in attention_scales(self.model).items():
            logs[_GAMMA + name] = float(keras.ops.convert_to_numpy(scale))


def attention_scales(model: keras.Model) -> dict[str, keras.Variable]:
    """Returns the scales gamma of a model's attention, by name.

    Layers of the model have them in a property `attention_scales`: those of PDANet are
    "position_1", "channel_1" and so on, by the bins per side of the pyramid's level, and those of
    DANet "position" and "channel". If several layers have scales, the names begin with the layer's.
    """
    found = {
        layer.name: scales
        for layer in model.layers
        if (scales := getattr(layer, "attention_scales", None))
    }
    return {
        name if len(found) == 1 else f"{layer}_{name}": scale
        for layer, scales in found.items()
        for name, scale in scales.items()
    }


def make_charts(history: Sequence[Mapping[str, float]]) -> list[LineChart]:
    """Returns the charts of a history: loss, mean IoU, learning rate, and gamma if there is any.

    Args:
        history: The values of each epoch by column, as in `history.csv`. Epochs of an earlier
            pdanet_tf lack columns; lines have gaps there.
    """
    gammas = dict.fromkeys(name for row in history for name in row if name.startswith(_GAMMA))
    chosen: dict[str, Mapping[str, Sequence[str]]] = {
        "Training loss": _LOSSES,
        "Mean IoU": _MEAN_IOUS,
        "Learning rate": _RATES,
        "Attention scales (gamma)": {
            name.removeprefix(_GAMMA).replace("_", " "): (name,) for name in gammas
        },
    }
    return [
        LineChart(title, {name: _column(history, columns) for name, columns in lines.items()})
        for title, lines in chosen.items()
        if lines
    ]


def _column(history: Sequence[Mapping[str, float]], names: Sequence[str]) -> list[float]:
    """Returns the value of the first of several columns that a row has, for each row."""
    return [next((row[name] for name in names if name in row), math.nan) for row in history]


@contextmanager
def curves_at_end(folder: RunFolder, verbose: bool) -> Iterator[None]:
    """Draws `curves.png` when the block ends, also if it ends by an error or by Ctrl-C.

    The curves are those of all complete epochs, also of those before the run was resumed. If they
    cannot be drawn, the block ends as it would without them.

    Args:
        folder: The folder of the run.
        verbose: Whether to print why the curves cannot be drawn.
    """
    try:
        yield
    finally:
        try:
            _save_curves(folder)
        except Exception as error:  # a drawing must never cost a trained model
            if verbose:
                text = f"{folder.curves} could not be drawn: {one_line(error)}"
                Console(stderr=True).print(text, soft_wrap=True, markup=False, highlight=False)


def _save_curves(folder: RunFolder) -> None:
    if not folder.last.exists():
        return
    history = Progress.read(folder.last).history
    if history:
        epochs = [row["epoch"] + 1 for row in history]  # counted from 1, as in printed lines
        figure = line_charts(make_charts(history), epochs, "epoch")
        with whole_file(folder.curves) as temporary:
            render(figure).save(temporary)
