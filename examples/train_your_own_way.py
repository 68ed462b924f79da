"""Trains a model with `model.fit` on data of your own.

python examples/train_your_own_way.py
"""

import keras
import numpy as np

from pdanet_tf import build_model
from pdanet_tf.losses import SegmentationCrossEntropy
from pdanet_tf.metrics import MeanIoU
from pdanet_tf.optimizers import SGD


def main() -> None:
    # RGB pixels from 0 to 255, and one class per pixel; pixels labelled 255 are ignored.
    images = np.random.default_rng(0).integers(0, 256, (8, 64, 96, 3)).astype("uint8")
    labels = (images.mean(-1) > 128).astype("uint8")

    model = build_model("pdanet_resnet18", num_classes=2)
    schedule = keras.optimizers.schedules.PolynomialDecay(0.01, 100, 0.0, power=0.9)
    model.compile(
        optimizer=SGD(schedule, momentum=0.9, weight_decay=1e-4),
        loss=SegmentationCrossEntropy(ignore_label=255),
        metrics=[MeanIoU(num_classes=2)],
        jit_compile=False,  # XLA is faster only on GPUs, with images of one size
    )
    model.fit(images, labels, batch_size=4, epochs=2)
    model.save("two_classes.keras")


if __name__ == "__main__":
    main()
