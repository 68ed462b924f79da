"""The named recipes on the command line. Listing them imports neither Keras nor TensorFlow."""

from collections.abc import Mapping
from typing import Any

from pdanet_tf.base.choices import check_choice
from pdanet_tf.cli.spelling import spell_as_options
from pdanet_tf.recipes import RECIPES, Recipe, find
from pdanet_tf.training.config import RECIPES as BATCH_RECIPES
from pdanet_tf.training.config import TrainConfig


def print_recipes(name: str | None = None) -> None:
    """Prints all recipes, a line for each, or one recipe as a TOML file for `--config`.

    Raises:
        ValueError: If there is no recipe of that name.
    """
    if name is not None:
        print(find(name).to_toml(), end="")
        return
    width = max(map(len, RECIPES))
    for recipe in RECIPES.values():
        requires = spell_as_options(recipe.requires, TrainConfig.__dataclass_fields__)
        print(f"{recipe.name:{width}}  {recipe.summary}. Requires {requires}")


def find_named_recipe(options: Mapping[str, Any], config: str | None) -> Recipe | None:
    """Returns the recipe that `--recipe` names; None if it is absent or a recipe for the batches.

    Args:
        options: The options of `train`.
        config: The file of `--config`.

    Raises:
        ValueError: If there is no such recipe, or the run has its options from elsewhere.
    """
    name = options.get("recipe")
    if name is None or name in BATCH_RECIPES:
        return None
    check_choice("recipe", name, (*BATCH_RECIPES, *RECIPES))
    if options.get("resume"):
        raise ValueError(
            f"--recipe {name} starts a new run, but --resume continues the run in --output-dir "
            "with its own config.json. Leave one of them out"
        )
    if config is not None:
        raise ValueError(
            f"--recipe {name} and --config both give all options of a run. Leave one of them out; "
            f"pdanet-tf recipes {name} prints the recipe as a file, to be edited"
        )
    return find(name)
