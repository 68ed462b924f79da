"""Trains PDANet on drawn scenes with the training loop of this package.

python examples/train.py runs/first
"""

import sys

from rich import print

from pdanet_tf import TrainConfig, train


def main(output_dir: str) -> None:
    config = TrainConfig(
        output_dir=output_dir,
        model="pdanet_resnet18",
        dataset="synthetic",  # or "camvid", "ade20k", "folder", each with data_dir=...
        epochs=4,
        learning_rate=0.03,
        nesterov=True,
        color_jitter=0,  # the classes of drawn scenes differ by colour
    )
    result = train(config)
    print(result.evaluation.table())
    print(f"The best model is {result.best}")


if __name__ == "__main__":
    main(*sys.argv[1:])
