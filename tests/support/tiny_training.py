"""Runs that train in a moment: their model, and their options."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import pytest

from pdanet_tf.training import TrainConfig


def tiny_model(
    name: str,
    num_classes: int,
    upsample: bool,
    aux_head: bool = False,
    dtype: str = "float32",
    **options: Any,
) -> keras.Model:
    """Builds a model of two layers, with the arguments of `build_model`."""
    pixels = keras.Input((None, None, 3))
    x = keras.layers.Rescaling(1 / 255, dtype=dtype)(pixels)
    x = keras.layers.Conv2D(4, 8, strides=8, name="body", dtype=dtype)(x)
    x = keras.layers.BatchNormalization(name="norm", dtype=dtype)(x)
    x = keras.layers.SpatialDropout2D(0.2, dtype=dtype)(x)
    logits = keras.layers.Conv2D(num_classes, 1, name="classifier", dtype=dtype)(x)
    if upsample:
        logits = keras.layers.UpSampling2D(8)(logits)
    if not aux_head:
        return keras.Model(pixels, logits)
    aux = keras.layers.Conv2D(num_classes, 1, name="aux", dtype=dtype)(x)
    return keras.Model(pixels, {"logits": logits, "aux_logits": aux})


@contextmanager
def runs_build(model: Callable[..., keras.Model] = tiny_model) -> Iterator[None]:
    """Makes all runs in a block build a model of the test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pdanet_tf.training.model.build_model", model)
        yield


def tiny_config(data: str | Path, output_dir: Path, **options: Any) -> TrainConfig:
    """Returns the options of a run on a folder that `write_folder` has written."""
    return TrainConfig(
        **{
            "output_dir": str(output_dir),
            "model": "fcn_resnet18",
            "dataset": "folder",
            "data_dir": str(data),
            "class_names": ("one", "two", "three"),
            "batch_size": 2,
            "crop_size": (16, 24),
            **options,
        }
    )
