"""The scores of an evaluation with the names of the classes."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.table import Table
from rich.text import Text

from pdanet_tf.base.wording import quantity
from pdanet_tf.charts import draw_bar_chart
from pdanet_tf.data.classes import Classes
from pdanet_tf.files import write_atomically
from pdanet_tf.metrics import Scores


@dataclass(frozen=True)
class Evaluation:
    """Scores over a data set, with the names of its classes.

    Attributes:
        scores: The scores.
        classes: Names and colours of the classes.
        images: Number of images.
    """

    scores: Scores
    classes: Classes
    images: int

    def to_dict(self) -> dict[str, Any]:
        """Returns all figures by name, ready for JSON."""
        scores = self.scores
        return {
            "images": self.images,
            "mean_iou": scores.mean_iou,
            "mean_iou_present": scores.mean_iou_present,
            "pixel_accuracy": scores.pixel_accuracy,
            "mean_accuracy": scores.mean_accuracy,
            "valid_pixels": int(scores.pixels.sum()),
            "classes_present": int(scores.present.sum()),
            "iou_per_class": dict(zip(self.classes.names, scores.iou.tolist(), strict=True)),
        }

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the figures as JSON."""
        write_atomically(Path(path), json.dumps(self.to_dict(), indent=2) + "\n")

    def table(self) -> Table:
        """Returns a table of the figures for `rich.print`."""
        scores = self.scores
        table = Table(title=quantity(self.images, "image"))
        table.add_column("class")
        table.add_column("IoU", justify="right")
        table.add_column("labelled pixels", justify="right")
        total = max(int(scores.pixels.sum()), 1)
        for name, iou, present, pixels in zip(
            self.classes.names, scores.iou, scores.present, scores.pixels, strict=True
        ):
            shown = f"{iou:.4f}" if present else "absent"
            table.add_row(Text(name), shown, f"{100 * pixels / total:.2f}%")
        table.add_section()
        table.add_row("mean IoU, all classes", f"{scores.mean_iou:.4f}", "")
        table.add_row("mean IoU, classes present", f"{scores.mean_iou_present:.4f}", "")
        table.add_row("pixel accuracy", f"{scores.pixel_accuracy:.4f}", "")
        table.add_row("mean accuracy", f"{scores.mean_accuracy:.4f}", "")
        return table

    def chart(self) -> Image.Image:
        """Draws the IoU of every class as a bar; absent classes have no bar."""
        scores = self.scores
        values = np.where(scores.present, scores.iou, np.nan).tolist()
        title = f"mean IoU {scores.mean_iou:.4f}, {quantity(self.images, 'image')}"
        return draw_bar_chart(
            self.classes.names, values, title, "IoU (0 to 1)", self.classes.colors
        )
