"""Scores the trained DANets and PDANets again with all attention scales at zero.

    python examples/camvid/without_attention.py --data-dir CamVid

The difference tells how much a model relies on its attention: with gamma = 0, an attention layer
returns its input. The scores are written beside the folders of the runs, where `report.py` finds
them; a run that has its score is skipped. `--model camvid` scores the model that comes with the
package instead, or that of any file, and prints the score.
"""

import argparse
import json
import sys
from pathlib import Path

import keras
from records import read_records, without_attention_file

import pdanet_tf
from pdanet_tf.files import write_atomically
from pdanet_tf.inference.settings import load_model
from pdanet_tf.training.curves import attention_scales


def score(file: str | Path, data_dir: str) -> float:
    """Returns the mean IoU of a model on the validation images without attention."""
    model, settings = load_model(file)
    for scale in attention_scales(model).values():
        scale.assign(0.0)
    dataset = pdanet_tf.load_dataset("camvid", "validation", data_dir)
    protocol = None if settings is None else settings.protocol
    return pdanet_tf.evaluate(model, dataset, protocol).scores.mean_iou


def main() -> int:
    """Scores the runs; returns the exit status."""
    parser = argparse.ArgumentParser(description="Scores trained models without their attention.")
    parser.add_argument("--data-dir", required=True, help="folder of CamVid")
    parser.add_argument("--runs", type=Path, default=Path("runs/camvid"), help="(%(default)s)")
    parser.add_argument("--model", help="score this model instead of the runs")
    options = parser.parse_args()
    try:
        if options.model is not None:
            found = score(options.model, options.data_dir)
            print(f"{options.model}: without attention, mean IoU {found:.4f}")
            return 0
        for record in read_records(options.runs):
            folder = record.folder
            if record.summary is None or not record.gamma_columns or folder is None:
                continue
            file = without_attention_file(folder)
            if file.exists():
                continue
            found = score(folder / "best.keras", options.data_dir)
            write_atomically(file, json.dumps({"mean_iou": found}) + "\n")
            former = record.summary.scores["mean_iou"]
            print(f"{folder}: mean IoU {former:.4f}, without attention {found:.4f}")
            keras.backend.clear_session()
    except (ValueError, OSError) as error:
        print(f"without_attention.py: error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
