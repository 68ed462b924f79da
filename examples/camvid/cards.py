"""Model cards of the runs on CamVid."""

import dataclasses
import io
import zipfile
from collections.abc import Sequence
from pathlib import Path

import h5py
from records import Record
from studies import RECIPE

from pdanet_tf.base.markdown import fill
from pdanet_tf.data import CAMVID_CLASSES
from pdanet_tf.inference.protocol import Protocol
from pdanet_tf.inference.settings import InferenceSettings
from pdanet_tf.sharing import CardFacts, write_card
from pdanet_tf.sharing.commands import train_command

_NOTES = """\
## The data

Trained from random weights on the 367 training images of CamVid, 11 classes, with the recipe
`{recipe}`. The scores are for its 101 validation images; the predictions are enlarged to the size
of the annotations, 480 x 360. The best epoch was number {best}. Published scores are for the 233
test images.

Machine: {machine}.

The images of CamVid may be used for research, not commercially (CC BY-NC 4.0, of the subset that
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
    """Returns the command that trains a run."""
    options = {"recipe": RECIPE, "data_dir": "CamVid", "model": record.config.model}
    return train_command({**options, **record.changes, "seed": record.config.seed})


def card_file(record: Record, folder: Path) -> Path:
    """Returns the file of a run's card in the folder of all cards."""
    return folder / f"{record.name}-seed{record.config.seed}.md"


def write_run_card(record: Record, records: Sequence[Record], folder: Path) -> None:
    """Writes the card of a run that has ended.

    Args:
        record: The run.
        records: All runs. Those of the same name differ from it in nothing but their seeds.
        folder: Where.

    Raises:
        ValueError: If the run has not ended, or its folder is not here.
    """
    if record.summary is None or record.folder is None:
        raise ValueError(f"{record.name} has not ended, or its folder is not here")
    best = record.folder / "best.keras"
    run = record.summary
    if record.seconds is not None:  # of all calls
        run = dataclasses.replace(run, seconds=record.seconds, steps_before=0)
    same = [each.summary for each in records if each.name == record.name and each.summary]
    facts = CardFacts(
        title=f"{record.name}, seed {record.config.seed}",
        model=record.config.model,
        parameters=count_parameters(best),
        settings=InferenceSettings.load_for(best) or InferenceSettings(CAMVID_CLASSES, Protocol()),
        source=f"runs/camvid/{record.name}/seed{record.config.seed}/best.keras",
        run=run,
        runs=same if len(same) > 1 else (),
        training=spell_command(record),
    )
    machines = dict.fromkeys(f"{call.machine}; {call.processor}" for call in record.calls)
    notes = _NOTES.format(
        recipe=RECIPE,
        best=record.best_epoch,
        machine=" and ".join(machines) or "not recorded",
    )
    filled = "\n\n".join(map(fill, notes.strip().split("\n\n"))) + "\n"
    write_card(card_file(record, folder), facts, filled)
