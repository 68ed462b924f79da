"""Exports a model as TensorFlow Serving takes it, and asks it as Serving would.

    python examples/serve.py runs/first/best.keras models/pdanet/1 photo.jpg labels.png

The folder can be handed to TensorFlow Serving; over its REST interface the request is

    {"instances": [{"image_bytes": {"b64": "..."}}]}

and the answer {"predictions": [{"b64": "..."}]}, a PNG with the class of every pixel.
"""

import sys
from pathlib import Path

import tensorflow as tf

import pdanet_tf


def main(model: str, folder: str, photo: str, output: str) -> None:
    pdanet_tf.export_saved_model(model, folder)
    # From here on nothing but TensorFlow is needed.
    served = tf.saved_model.load(folder).signatures["serving_default"]
    answer = served(image_bytes=tf.constant([Path(photo).read_bytes()]))
    Path(output).write_bytes(answer["label_map_bytes"][0].numpy())
    print(f"The label map is in {output}")


if __name__ == "__main__":
    main(*sys.argv[1:])
