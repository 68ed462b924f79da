"""Segments an image and saves it with the predicted classes as an overlay.

python examples/predict.py runs/first/best.keras photo.jpg overlay.png
"""

import sys

import pdanet_tf


def main(model: str, photo: str, output: str) -> None:
    prediction = pdanet_tf.predict(photo, model)
    for name, area in prediction.areas().items():
        print(f"{name}: {100 * area:.1f}%")
    prediction.overlay.save(output)


if __name__ == "__main__":
    main(*sys.argv[1:])
