"""The list of models. Printing it imports neither Keras nor TensorFlow."""

from pdanet_tf.base.catalog import FAMILIES, model_names
from pdanet_tf.weights.published_table import CHECKPOINTS


def print_models() -> None:
    """Prints the names of all models, family by family, and those of published checkpoints.

    Families of other packages are listed once their modules are imported, without sizes.
    """
    width = max(map(len, model_names()))
    print("Number of parameters with 150 classes, and size of the file in float32")
    for name, family in FAMILIES.items():
        print(f"\n{family.title}")
        for backbone, count in family.parameters.items():
            model = f"{name}_{backbone}"
            size = "" if count is None else f"{count / 1e6:6.2f} M  {4 * count / 1e6:5.0f} MB"
            variants = [each for each, having in family.variants.items() if backbone in having]
            also = f"  variant {', '.join(variants)}" if variants else ""
            print(f"  {model:{width}}  {size}{also}".rstrip())
    print(
        "\nPublished checkpoints (--model NAME), with their published mean IoU and pixel accuracy"
    )
    width = max(map(len, CHECKPOINTS))
    for name, checkpoint in CHECKPOINTS.items():
        scores, variant = checkpoint.scores, checkpoint.variant
        score = (
            ""
            if scores is None
            else f"{scores.mean_iou:.4f}  {scores.pixel_accuracy:.4f}  {scores.images}"
        )
        model = checkpoint.model if variant is None else f"{checkpoint.model}, variant {variant}"
        print(f"  {name:{width}}  {score}  ({model}; {checkpoint.licence})")
