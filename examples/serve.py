"""Exports a model for TensorFlow Serving and runs the exported model.

    python examples/serve.py runs/first/best.keras models/pdanet/1 photo.jpg labels.png

TensorFlow Serving can serve the folder. A request to its REST interface is

    {"instances": [{"image_bytes": {"b64": "..."}}]}

and the response is {"predictions": [{"label_map_bytes": {"b64": "..."}, "class_ids": [...], ...}]}:
a PNG with the class of every pixel, and what else docs/serving.md lists.
"""

import sys
from pathlib import Path

import tensorflow as tf

import pdanet_tf


def main(model: str, folder: str, photo: str, output: str) -> None:
    pdanet_tf.export_saved_model(model, folder)
    # Everything below requires only TensorFlow.
    served = tf.saved_model.load(folder).signatures["serving_default"]
    answer = served(image_bytes=tf.constant([Path(photo).read_bytes()]))
    Path(output).write_bytes(answer["label_map_bytes"][0].numpy())
    print(f"The label map is in {output}")


if __name__ == "__main__":
    main(*sys.argv[1:])
