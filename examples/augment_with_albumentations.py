"""Trains PDANet on drawn scenes that Albumentations changes at random.

python examples/augment_with_albumentations.py runs/augmented

It needs `pip install albumentations==2.0.8`, the last version under the MIT licence, which is no
longer maintained. The script also runs with its successor `albumentationsx`, whose licence is AGPL.
"""

import sys
import threading

import albumentations as A
import numpy as np
from rich import print

from pdanet_tf import TrainConfig, train

_UNLABELLED = 255  # `void_label` of the data set
_of_thread = threading.local()


def make_augmenter() -> A.Compose:
    # Small objects and thin structures survive these changes; `train` scales, crops, flips and
    # recolours by itself.
    return A.Compose(
        [
            A.Affine(rotate=(-10, 10), shear=(-5, 5), fill_mask=_UNLABELLED, p=0.5),
            A.Perspective(scale=(0.02, 0.08), fill_mask=_UNLABELLED, p=0.5),
            A.RandomFog(p=0.1),
            A.GaussNoise(p=0.3),
        ]
    )


def augment(
    image: np.ndarray, label: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    # `train` calls this function from several threads at the same time. An augmenter has one state
    # of random numbers, so each thread gets an augmenter of its own.
    if not hasattr(_of_thread, "augmenter"):
        _of_thread.augmenter = make_augmenter()
    # `rng` belongs to this sample: the same seed of the run gives the same images, also resumed.
    _of_thread.augmenter.set_random_seed(int(rng.integers(2**32)))
    changed = _of_thread.augmenter(image=image, mask=label)
    return changed["image"], changed["mask"]


def main(output_dir: str) -> None:
    config = TrainConfig(
        output_dir=output_dir,
        epochs=4,
        learning_rate=0.03,
        nesterov=True,
        color_jitter=0,  # the classes of drawn scenes differ by colour
    )
    print(train(config, augment=augment).evaluation.table())


if __name__ == "__main__":
    main(*sys.argv[1:])
