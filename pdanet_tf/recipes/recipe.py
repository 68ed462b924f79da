"""What a named recipe is."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from pdanet_tf.base.fields import with_nearest
from pdanet_tf.training.config import FORMAT_VERSION, TrainConfig
from pdanet_tf.training.config_files import format_toml


@dataclass(frozen=True)
class Recipe:
    """A training run that others have described, as a configuration without the user's folders.

    Attributes:
        name: Its name, as on the command line.
        summary: What it trains, in a few words.
        source: Where the values come from.
        score: What score the source reports, and whether it has been measured with this package.
        requires: What the user must give, in the names of the options.
        config: All options.
    """

    name: str
    summary: str
    source: str
    score: str
    requires: str
    config: TrainConfig

    def configure(self, **options: Any) -> TrainConfig:
        """Returns the configuration of a run.

        Args:
            **options: Options of `TrainConfig`, which override those of the recipe.

        Raises:
            ValueError: If an option is unknown (the message names the nearest known one) or wrong,
                or does not go with an option of the recipe.

        Example:
            ```python
            recipe = pdanet_tf.recipes.find("fine-tune")
            config = recipe.configure(data_dir="my_data", num_classes=3, freeze="backbone")
            ```
        """
        known = TrainConfig.__dataclass_fields__
        unknown = [name for name in options if name not in known]
        if unknown:
            raise ValueError(f"TrainConfig has no option {with_nearest(unknown, known)}")
        try:
            return dataclasses.replace(self.config, **options)
        except ValueError as error:
            raise ValueError(
                f"{error}. All options that are not given come from the recipe {self.name!r}"
            ) from error

    def to_toml(self) -> str:
        """Returns the options that differ from the defaults, as a file for `TrainConfig.load`.

        Comments at its beginning hold the summary, the source, the score and the requirements.
        """
        lines = (
            f"{self.name}: {self.summary}",
            f"Source: {self.source}",
            f"Score: {self.score}",
            f"Requires: {self.requires}",
        )
        comments = "".join(f"# {line}\n" for line in lines)
        options = {
            field.name: getattr(self.config, field.name)
            for field in dataclasses.fields(TrainConfig)
            if getattr(self.config, field.name) != field.default
        }
        return f"{comments}\n{format_toml({'version': FORMAT_VERSION, **options})}"
