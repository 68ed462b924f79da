"""Draws a scene of the synthetic data set, to have a picture at hand.

python examples/draw_scene.py scene.png 7
"""

import sys

from PIL import Image

import pdanet_tf


def main(output, index="0"):
    image, _ = pdanet_tf.load_dataset("synthetic", "validation").read(int(index))
    Image.fromarray(image).save(output)


if __name__ == "__main__":
    main(*sys.argv[1:])
