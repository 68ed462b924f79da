"""A model, images and protocols, for tests of the protocol and of the scores.

The fixtures `model`, `folder` and `dataset` are of a test file that imports their functions.
"""

from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

import pdanet_tf
from pdanet_tf.data import SegmentationDataset, load_dataset
from pdanet_tf.inference.protocol import Protocol

CLASSES = 4
PROTOCOLS = {
    "plain": Protocol((24,)),
    "several sizes": Protocol((16, 24, 40), 56),
    "own size": Protocol(),
    "flip": Protocol((24,), flip=True),
    "windows": Protocol((40,), 80, crop_size=(24, 32)),
    "everything": Protocol((24, 40), 64, flip=True, crop_size=(24, 24), stride=(8, 16)),
}


def build_decisive_model() -> keras.Model:
    """A model of random weights whose most probable class is mostly far ahead of the others."""
    keras.utils.set_random_seed(1)
    model = pdanet_tf.build_model("pspnet_resnet18", num_classes=CLASSES)
    for weight in model.weights:
        if weight.path.endswith("classifier/kernel"):
            weight.assign(weight * 40.0)
    return model


@pytest.fixture(scope="module", name="model")
def decisive_model() -> keras.Model:
    """That model."""
    return build_decisive_model()


@pytest.fixture(name="folder")
def images_of_odd_sizes(tmp_path: Path) -> Path:
    """A folder of images in the layout and the numbering of ADE20K (0 is no class)."""
    rng = np.random.default_rng(0)
    for index, size in enumerate([(31, 47), (64, 40), (8, 90), (25, 25)]):
        coarse = rng.integers(0, 256, (4, 5, 3)).astype("uint8")
        image = Image.fromarray(coarse).resize(size[::-1], Image.Resampling.BILINEAR)
        label = rng.integers(0, CLASSES, size).astype("uint8")  # the last class is in no label
        for kind, content in (("images", image), ("annotations", Image.fromarray(label))):
            path = tmp_path / "set" / kind / "validation" / f"scene_{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            content.save(path)
    return tmp_path / "set"


@pytest.fixture(name="dataset")
def dataset_of_odd_sizes(folder: Path) -> SegmentationDataset:
    """The data set of that folder."""
    return load_dataset("folder", "validation", folder, num_classes=CLASSES, label_offset=1)
