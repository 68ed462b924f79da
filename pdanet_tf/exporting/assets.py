"""Facts about the classes of a model, in a file of the SavedModel."""

import csv
import io
from pathlib import Path

from pdanet_tf.data.classes import Classes

CLASSES_FILE = "assets/classes.csv"


def write_classes(folder: Path, classes: Classes) -> None:
    """Writes the label, the name and the colour of each class into a SavedModel.

    Args:
        folder: The folder of the SavedModel.
        classes: The classes.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["label", "name", "red", "green", "blue"])
    for label, (name, color) in enumerate(zip(classes.names, classes.colors, strict=True)):
        writer.writerow([label, name, *color])
    path = folder / CLASSES_FILE
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(text.getvalue().encode("utf-8"))
