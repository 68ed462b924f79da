"""The run of `train_on_jax.py`: its JSON file among the results, its table and its curves."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image
from records import read_history, rounded

from pdanet_tf.base.markdown import markdown_table
from pdanet_tf.charts import LineChart, line_charts, render
from pdanet_tf.files import read_json

_OF_THAT_MACHINE = ("data_dir", "output")
# Columns of `history.csv` that are neither scores of classes nor attention scales.
_COLUMNS = ("epoch", "seconds", "loss", "val_mean_iou")
_LEVELS = ("1", "2", "3", "6")  # bins per side of the levels of PDANet's pyramid
_LAST = 5  # scores in the table


def read_jax_run(folder: Path) -> dict[str, Any]:
    """Reads the folder that `train_on_jax.py` wrote; returns everything, ready for JSON.

    The curves have a value for each epoch of `curves["epoch"]`. The scores and the attention scales
    in them are those of the moving average of the weights.

    Raises:
        ValueError: If it is not such a folder; the message names the file.
    """
    history, content = read_history(folder), read_json(folder / "run.json")
    missing = [name for name in ("options", "device", "versions") if name not in content]
    if missing or not history or not set(_COLUMNS) <= history[-1].keys():
        raise ValueError(f"{folder}: expected run.json and history.csv of train_on_jax.py")
    last = history[-1]
    options = content["options"]
    return {
        "name": f"{options['model']}-jax",
        "seed": int(options["seed"]),
        "epochs": int(last["epoch"]),
        "is_complete": int(last["epoch"]) == int(options["epochs"]),
        "config": {name: value for name, value in options.items() if name not in _OF_THAT_MACHINE},
        "seconds": last["seconds"],
        "device": content["device"],
        "versions": content["versions"],
        "class_weights": content.get("class_weights"),
        "validation": {
            "mean_iou": last["val_mean_iou"],
            "iou_per_class": {
                name: value
                for name, value in last.items()
                if name not in _COLUMNS and not name.endswith("/gamma")
            },
        },
        "curves": {_short(name): [rounded(row[name]) for row in history] for name in last},
    }


def describe_last(run: Mapping[str, Any]) -> str:
    """Returns a table of the last scores of a run, with its device and its time."""
    curves = run["curves"]
    rows = [
        [f"{epoch:g}", f"{loss:.4f}", f"{score:.4f}"]
        for epoch, loss, score in zip(
            *(curves[name][-_LAST:] for name in ("epoch", "loss", "val_mean_iou")), strict=True
        )
    ]
    versions = ", ".join(f"{name} {version}" for name, version in run["versions"].items())
    text = markdown_table(["epoch", "training loss", "mean IoU"], rows, 0)
    return f"{text}\n\n{run['seconds']:.0f} seconds on one {run['device']} ({versions})."


def draw_jax_run(run: Mapping[str, Any]) -> Image.Image:
    """Draws the training loss, the mean IoU and the attention scales by epoch."""
    curves = run["curves"]
    scales = {
        name.removeprefix("gamma_").replace("_", " "): values
        for name, values in curves.items()
        if name.startswith("gamma_")
    }
    charts = [
        LineChart("Training loss", {"loss": curves["loss"]}),
        LineChart("Validation mean IoU", {"mean IoU": curves["val_mean_iou"]}),
        *([LineChart("Attention scales", scales)] if scales else []),
    ]
    return render(line_charts(charts, curves["epoch"], "epoch"))


def _short(column: str) -> str:
    """Returns the name of an attention scale as in `history.csv` of `pdanet-tf train`."""
    parts = column.split("/")
    if parts[-1] != "gamma":
        return column
    kind = parts[-2].removesuffix("_attention")
    level = [part for part in parts if part.startswith("level_")]
    ending = f"_{_LEVELS[int(level[0].removeprefix('level_'))]}" if level else ""
    return f"gamma_{kind}{ending}"
