"""Named recipes: whole configurations of training runs, with their sources.

`RECIPES` holds them by name, `find` looks one up, and `configure` completes it with the folders.

Example:
    ```python
    recipe = pdanet_tf.recipes.find("camvid-from-scratch")
    config = recipe.configure(data_dir="CamVid", output_dir="runs/camvid", epochs=10)
    ```
"""

from typing import TYPE_CHECKING

from pdanet_tf.base.lazy import lazy_attributes

if TYPE_CHECKING:
    from pdanet_tf.recipes.catalog import RECIPES, find
    from pdanet_tf.recipes.recipe import Recipe

__all__ = ["RECIPES", "Recipe", "find"]

__getattr__ = lazy_attributes(
    __name__,
    {
        "RECIPES": "pdanet_tf.recipes.catalog",
        "Recipe": "pdanet_tf.recipes.recipe",
        "find": "pdanet_tf.recipes.catalog",
    },
)
