"""Model cards of the runs on CamVid."""

import io
import shlex
import zipfile
from collections.abc import Mapping
from pathlib import Path

import h5py
from records import Record
from studies import RECIPE
from tables import minutes, table

from pdanet_tf.base.wording import quantity

_TEXT = """\
# {name}, seed {seed}

| | |
| --- | --- |
| model | `{model}`, {parameters:,} parameters |
| data | the 367 training images of CamVid, 11 classes; from random weights |
| recipe | `{recipe}`: {size} pixels, {epochs} |
| seed | {seed} |
| time | {minutes} minutes on {machine} |
| best epoch | {best}, chosen by the mean IoU on the validation images |

```sh
{command}
```

## Scores

On the 101 validation images. The predictions are enlarged to the size of the annotations,
480 x 360.

{scores}

## Limits

- The scores are those of the validation images, with which the best epoch was chosen. They cannot
  be compared with published scores, which are for the 233 test images.
- One run with one seed: another seed gives another score.
- Trained on road scenes from a car in one city at {size}. Other scenes and sizes were not tried.
- The images of CamVid may be used for research, not commercially (CC BY-NC 4.0, of the subset that
  comes with SegNet).
"""


def count_parameters(file: Path) -> int:
    """Counts the weights in a `.keras` file, without the states of random generators."""
    with zipfile.ZipFile(file) as archive:
        content = archive.read("model.weights.h5")
    sizes: list[int] = []

    def add(path: str, node: h5py.Group | h5py.Dataset) -> None:
        if isinstance(node, h5py.Dataset) and "seed_generator" not in path:
            sizes.append(node.size)

    with h5py.File(io.BytesIO(content)) as weights:
        weights.visititems(add)
    return sum(sizes)


def spell_command(record: Record) -> str:
    """Returns the command that trains a run; options that are None are left out."""
    changes = {"model": record.config.model, **record.changes, "seed": record.config.seed}
    arguments = ["pdanet-tf", "train", "--recipe", RECIPE, "--data-dir", "CamVid"]
    for name, value in changes.items():
        option = f"--{name.replace('_', '-')}"
        if isinstance(value, bool):
            arguments.append(option if value else f"--no-{option[2:]}")
        elif isinstance(value, Mapping):
            arguments += [option, *(f"{key}={each}" for key, each in value.items())]
        elif value is not None:
            arguments += [option, *map(str, value if isinstance(value, tuple) else (value,))]
    return shlex.join(arguments)


def write_card(record: Record, folder: Path) -> Path:
    """Writes the card of a run that has ended; returns its file."""
    if record.summary is None:
        raise ValueError(f"{record.folder} has not ended")
    scores = [[name, f"{iou:.3f}"] for name, iou in record.iou.items()]
    scores.append(["**mean IoU**", f"**{record.summary.scores['mean_iou']:.4f}**"])
    for score in ("pixel_accuracy", "mean_accuracy"):
        scores.append([score.replace("_", " "), f"{record.summary.scores[score]:.4f}"])
    height, width = record.config.crop_size or (360, 480)
    machines = dict.fromkeys(f"{call.machine}; {call.processor}" for call in record.calls)
    file = folder / f"{record.name}-seed{record.config.seed}.md"
    text = _TEXT.format(
        name=record.name,
        seed=record.config.seed,
        model=record.config.model,
        parameters=count_parameters(record.folder / "best.keras"),
        recipe=RECIPE,
        size=f"{width} x {height}",
        epochs=quantity(record.epochs, "epoch"),
        minutes=minutes(record),
        machine=" and ".join(machines) or "a machine that was not recorded",
        best=record.best_epoch,
        command=spell_command(record),
        scores=table(["class", "IoU"], scores),
    )
    file.write_text(text, "utf-8")
    return file
