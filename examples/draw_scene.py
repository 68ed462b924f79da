"""Draws a scene of the synthetic data set and saves it as an image.

python examples/draw_scene.py scene.png 7            # the 8th scene of the validation split
python examples/draw_scene.py scene.png 7 288 384    # the same, 288 x 384 instead of 144 x 192
"""

import sys

from PIL import Image

from pdanet_tf.data import SyntheticDataset


def main(output: str, index: str = "0", height: str = "144", width: str = "192") -> None:
    scenes = SyntheticDataset("validation", size=(int(height), int(width)))
    image, _ = scenes.read(int(index))
    Image.fromarray(image).save(output)


if __name__ == "__main__":
    main(*sys.argv[1:])
