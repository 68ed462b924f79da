"""Segments a drawn scene, trains PDANet on such scenes, scores and exports it (`make demo`).

python examples/demo.py demo/first
"""

import sys
import time
from pathlib import Path
from typing import Any

from pdanet_tf.base.startup import import_keras_quietly, keep_freed_memory


class Stages:
    """Prints a line for each stage: what was done, how long it took, and which file shows it."""

    def __init__(self) -> None:
        self.started = self.previous = time.monotonic()

    def done(self, what: str, look: Path) -> None:
        """Ends a stage and prints its line."""
        now = time.monotonic()
        took, total = now - self.previous, now - self.started
        print(
            f"== {what} in {took:.0f} s, {total:.0f} s since the start. Look at {look}", flush=True
        )
        self.previous = now


def main(output: str) -> None:
    stages = Stages()
    # Both calls come before the import of TensorFlow, as in the command line.
    keep_freed_memory(one_arena=True)
    import_keras_quietly()
    import keras
    import tensorflow as tf
    from PIL import Image

    import pdanet_tf

    folder = Path(output)
    folder.mkdir(parents=True)
    scene, best = folder / "scene.png", folder / "best.keras"
    Image.fromarray(pdanet_tf.load_dataset("synthetic", "validation").read(1)[0]).save(scene)

    def segment(overlay: Path, model: str | Path = best) -> None:
        pdanet_tf.predict(scene, model).overlay.save(overlay)

    segment(folder / "camvid_overlay.png", "camvid")
    stages.done("Segmented a scene with the model of the package", folder / "camvid_overlay.png")

    def show_first_epoch(epoch: int, logs: dict[str, Any]) -> None:
        if epoch == 0:
            segment(folder / "first_overlay.png")
            stages.done("Trained for one epoch and segmented a scene", folder / "first_overlay.png")

    config = pdanet_tf.TrainConfig(
        output_dir=str(folder),
        epochs=3,
        steps_per_epoch=16,
        output_stride=16,  # takes half the time of the default, 8
        learning_rate=0.03,
        nesterov=True,
        scale_range=(0.9, 1.2),
        color_jitter=0,  # the classes of drawn scenes differ by colour
    )
    first = keras.callbacks.LambdaCallback(on_epoch_end=show_first_epoch)
    scores = pdanet_tf.train(config, callbacks=[first]).evaluation.scores
    stages.done(f"Trained and scored, mean IoU {scores.mean_iou:.2f},", folder / "summary.json")

    segment(folder / "overlay.png")
    stages.done("Segmented the scene", folder / "overlay.png")

    serving = folder / "serving" / "1"
    pdanet_tf.export_saved_model(best, serving)
    # The exported model runs in TensorFlow without this package, as in TensorFlow Serving.
    served = tf.saved_model.load(str(serving)).signatures["serving_default"]
    answer = served(image_bytes=tf.constant([scene.read_bytes()]))
    labels = folder / "served_labels.png"
    labels.write_bytes(answer["label_map_bytes"][0].numpy())
    stages.done(f"Exported to {serving} and segmented the scene with it", labels)


if __name__ == "__main__":
    main(*sys.argv[1:])
