"""Fine-tunes a model to two classes of your own.

    python examples/fine_tune.py runs/first/best.keras my_data runs/two

The folder has `images/train`, `images/validation`, `annotations/train` and
`annotations/validation`; the annotations are 0 where there is no car, and 1 where there is one. The
model may have any classes and any head; its backbone must be a ResNet18.
"""

import sys

from pdanet_tf import TrainConfig, train


def main(weights: str, data_dir: str, output_dir: str) -> None:
    config = TrainConfig(
        output_dir=output_dir,
        model="fcn_resnet18",
        dataset="folder",
        data_dir=data_dir,
        class_names=("rest", "car"),
        weights=weights,  # the classifier for the former classes is not loaded
        freeze=("C1", "C2"),  # or "backbone", which is faster still
        epochs=2,
        learning_rate=0.003,
        batch_size=2,
        crop_size=(96, 128),
    )
    result = train(config)
    print(f"The best model is {result.best}. {result.summary['weights']}")


if __name__ == "__main__":
    main(*sys.argv[1:])
