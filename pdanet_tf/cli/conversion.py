"""The command `convert`: checkpoints of other packages become `.keras` files."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from pdanet_tf.backbones.parts import find_backbone
from pdanet_tf.backbones.stages import stage_strides
from pdanet_tf.base.wording import quantity
from pdanet_tf.files import whole_file
from pdanet_tf.models.foreign import build_from_checkpoint
from pdanet_tf.models.registry import find_model
from pdanet_tf.weights.fitting import normalization_of
from pdanet_tf.weights.hub import local_file
from pdanet_tf.weights.sources.checkpoint import (
    read_checkpoint,
    recognise,
    require_architecture,
    unused_names,
)
from pdanet_tf.weights.sources.source import Architecture
from pdanet_tf.weights.state import read_state
from pdanet_tf.weights.torch import torch_parts

_MOST_NAMES = 10  # unused ones that are printed


def convert(
    files: list[str],
    encoder: str | None,
    decoder: str | None,
    output: str,
    **given: Any,
) -> None:
    """Converts a checkpoint, and prints what was found in it and what was assumed.

    Args:
        files: The file, or the files of the encoder and the decoder.
        encoder: File of the encoder, in place of `files`.
        decoder: File of the decoder.
        output: The `.keras` file to write.
        **given: Arguments of `build_model`; None for those that the checkpoint determines.
    """
    named = [file for file in (encoder, decoder) if file is not None]
    if bool(files) == bool(named) or len(files) > 2:
        raise ValueError(
            "convert takes one file, or those of an encoder and its decoder. "
            f"Received: {' '.join([*files, *named]) or 'none'}"
        )
    files = files or named
    if not output.endswith(".keras"):
        raise ValueError(f"--output must end in .keras. Received: {output}")
    if Path(output).exists():
        raise FileExistsError(f"{output} already exists; choose another file to convert to.")
    if len(files) == 1:
        checkpoint = read_checkpoint(files[0])
    else:
        states = [read_state(local_file(file)) for file in files]
        checkpoint = recognise(torch_parts(*states), " and ".join(files))
    found = require_architecture(checkpoint)
    model = build_from_checkpoint(checkpoint, **given, aux_head=found.aux_head)
    with whole_file(Path(output)) as temporary:
        model.save(temporary)
    print(f"{output} holds {model.name}.")
    print(f"Found in the checkpoint: {_describe(found)}.")
    print(f"Its names are those of {checkpoint.source.title}.")
    assumed = _assumed(model, found)
    if assumed:
        print(f"Assumed, because a checkpoint does not contain it: {', '.join(assumed)}.")
    print(f"Not used: {_summary(unused_names(model, checkpoint)) or 'nothing'}.")


def _describe(found: Architecture) -> str:
    """Returns what a checkpoint shows of its model, in words."""
    parts = {"variant": found.variant, "stem": found.stem}
    words = [f"{name} {value}" for name, value in parts.items() if value is not None]
    head = ["auxiliary head"] if found.aux_head else []
    classes = quantity(found.num_classes, "class", "classes")
    return ", ".join([f"model {found.model}", classes, *words, *head])


def _assumed(model: keras.Model, found: Architecture) -> list[str]:
    """Returns what a model has that its checkpoint does not show, in words."""
    backbone = find_backbone(model)
    entry = find_model(found.model, found.variant)
    has_choice = entry.output_stride is None and "output_stride" in entry.backbone.options
    assumed = []
    strides = {} if backbone is None else stage_strides(backbone)
    # A backbone that ends before C5 is not dilated, so nothing is assumed.
    if found.output_stride is None and has_choice and "C5" in strides:
        assumed.append(f"output stride {strides['C5']}")
    if found.normalization is None:
        assumed.append(f"normalization {normalization_of(model)}")
    return [*assumed, *found.assumed]


def _summary(names: Sequence[str]) -> str:
    """Lists names of a state dict, with a count in place of the names that every batch norm has.

    Of more than ten names it lists the first ten.
    """
    kinds = Counter(
        name if name.endswith(("weight", "bias")) else name.rpartition(".")[2] for name in names
    )
    words = [f"{kind} ({count})" if count > 1 else kind for kind, count in kinds.items()]
    more = len(words) - _MOST_NAMES
    return ", ".join([*words[:_MOST_NAMES], *([f"{more} more"] if more > 0 else [])])
