"""The list of models. Printing it imports neither Keras nor TensorFlow."""

from collections.abc import Mapping, Sequence

from pdanet_tf.base.catalog import FAMILIES, model_names


def print_models(others: Mapping[str, Sequence[str]] | None = None) -> None:
    """Prints the names of all models, family by family, with their sizes.

    Args:
        others: Names of models that are not part of pdanet_tf, by title of the family. They are
            printed without sizes.
    """
    width = max(map(len, model_names()))
    print("Number of parameters with 150 classes, and size of the file in float32")
    for name, family in FAMILIES.items():
        print(f"\n{family.title}")
        for backbone, count in family.parameters.items():
            model = f"{name}_{backbone}"
            print(f"  {model:{width}}  {count / 1e6:6.2f} M  {4 * count / 1e6:5.0f} MB")
    for title, names in (others or {}).items():
        print(f"\n{title}")
        for model in names:
            print(f"  {model}")
