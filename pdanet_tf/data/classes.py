"""Names and colours of the classes of a data set."""

import dataclasses
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pdanet_tf.base.fields import check_fields, shorten
from pdanet_tf.base.wording import quantity
from pdanet_tf.data.palette import Color, bright_colors, parse_color

_BACKGROUNDS = ("background", "void", "other", "unlabelled", "unlabeled")
_LONGEST_NAME = 256  # in characters


@dataclass(frozen=True)
class Classes:
    """The classes of a data set.

    Attributes:
        names: One name per class, all different.
        colors: One RGB colour (0 to 255) per class; two classes may share one.

    Raises:
        ValueError: If there are no classes; if names are equal, too long or contain control
            characters; or if a colour is not three integers from 0 to 255.
    """

    names: tuple[str, ...]
    colors: tuple[Color, ...]

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.names:
            raise ValueError("A data set needs at least one class. Received: names=()")
        for name in self.names:
            # Lone surrogates ("Cs") cannot be written, control characters break tables.
            if len(name) > _LONGEST_NAME or {"Cc", "Cs"} & set(map(unicodedata.category, name)):
                raise ValueError(
                    f"A class name must have at most {_LONGEST_NAME} characters and no control "
                    f"characters. Received: {len(name)} characters: {shorten(name)}"
                )
        if len(set(self.names)) < len(self.names):
            raise ValueError(f"Class names must differ. Received: names={self.names}")
        if len(self.colors) != len(self.names):
            raise ValueError(
                f"There must be one colour per class. Received: "
                f"{quantity(len(self.names), 'name')} and {quantity(len(self.colors), 'colour')}"
            )
        for color in self.colors:
            if not all(0 <= channel <= 255 for channel in color):
                raise ValueError(f"Colours must be from 0 to 255. Received: {shorten(color)}")

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def numbered(cls, num_classes: int) -> "Classes":
        """Returns classes with the names "class 0", "class 1" and so on."""
        return cls.named([f"class {index}" for index in range(num_classes)])

    @classmethod
    def named(cls, names: list[str] | tuple[str, ...]) -> "Classes":
        """Returns classes with the given names, in bright colours that are far apart."""
        return cls(tuple(names), bright_colors(len(names)))

    @classmethod
    def from_entries(cls, entries: Any) -> "Classes":
        """Returns the classes that `inference.json` lists.

        Args:
            entries: A list of objects with "name" and "color".

        Raises:
            ValueError: If it is something else.
        """
        if not isinstance(entries, list) or not all(
            isinstance(entry, dict) and entry.keys() == {"name", "color"} for entry in entries
        ):
            raise ValueError('"classes" must be a list of objects with "name" and "color"')
        return cls(
            tuple(entry["name"] for entry in entries), tuple(entry["color"] for entry in entries)
        )

    def with_colors(self, colors: Sequence[str | Sequence[int]]) -> "Classes":
        """Returns the same classes with other colours.

        Args:
            colors: One per class: `"#ff8000"`, `"255,128,0"`, or red, green and blue (0 to 255).

        Raises:
            ValueError: If there are more or fewer colours than classes, or a value is not a colour.
        """
        return dataclasses.replace(self, colors=tuple(parse_color(color) for color in colors))

    def is_background(self, index: int) -> bool:
        """Returns True if a class is called background, void, other, unlabelled or unlabeled.

        Case and surrounding underscores are ignored: "__Background__" is one, too. Overlays do not
        paint such a class.
        """
        return self.names[index].strip("_ ").lower() in _BACKGROUNDS
