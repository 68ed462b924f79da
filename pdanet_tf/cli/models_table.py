"""The list of models. Printing it imports neither Keras nor TensorFlow."""

from pdanet_tf.base.catalog import FAMILIES, model_names


def print_models() -> None:
    """Prints the names of all models, family by family, with their sizes.

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
