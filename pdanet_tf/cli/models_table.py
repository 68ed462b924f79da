"""The list of models. Printing it imports neither Keras nor TensorFlow."""

from pdanet_tf.base.catalog import FAMILIES, model_names
from pdanet_tf.weights.published import CHECKPOINTS


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
    _print_checkpoints()


def _print_checkpoints() -> None:
    print("\nPublished checkpoints (--model NAME): published mean IoU and pixel accuracy, licence")
    width = max(map(len, CHECKPOINTS))
    for name, each in CHECKPOINTS.items():
        score = "no published score"
        if each.scores is not None:
            values = f"{each.scores.mean_iou:.4f}  {each.scores.pixel_accuracy:.4f}"
            score = f"{values}  {each.scores.images}"
        model = each.model if each.variant is None else f"{each.model}, variant {each.variant}"
        print(f"  {name:{width}}  {score}  ({model}; {each.licence})")
