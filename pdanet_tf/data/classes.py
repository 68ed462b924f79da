"""Names and colours of classes."""

import unicodedata
from dataclasses import dataclass

from pdanet_tf.fields import check_fields, shorten

Color = tuple[int, int, int]
_LONGEST_NAME = 256  # in characters


@dataclass(frozen=True)
class Classes:
    """The classes of a data set.

    Attributes:
        names: One name per class, all different.
        colors: One RGB colour (0 to 255) per class; two classes may share one.

    Raises:
        ValueError: If there are no classes, names that are equal, too long or hold control
            characters, or colours that are none.
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
                    f"A class name must have at most {_LONGEST_NAME} characters, and no control "
                    f"characters. Received: {len(name)} characters: {shorten(name)}"
                )
        if len(set(self.names)) < len(self.names):
            raise ValueError(f"Class names must differ. Received: names={self.names}")
        if len(self.colors) != len(self.names):
            raise ValueError(
                f"There must be one colour per class. Received: {len(self.names)} names and "
                f"{len(self.colors)} colours"
            )
        for color in self.colors:
            if not all(0 <= channel <= 255 for channel in color):
                raise ValueError(f"Colours must be from 0 to 255. Received: {shorten(color)}")

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def numbered(cls, num_classes: int) -> "Classes":
        """Returns classes called "class 0", "class 1", and so on."""
        return cls.named([f"class {index}" for index in range(num_classes)])

    @classmethod
    def named(cls, names: list[str] | tuple[str, ...]) -> "Classes":
        """Returns classes of the given names, in colours far apart."""
        return cls(tuple(names), tuple(_spread_color(index) for index in range(len(names))))


def _spread_color(index: int) -> Color:
    """Returns the colour that the Pascal VOC palette has for `index + 1` (0 is black there)."""
    value, color = index + 1, [0, 0, 0]
    for shift in range(7, -1, -1):
        for channel in range(3):
            color[channel] |= (value >> channel & 1) << shift
        value >>= 3
    return (color[0], color[1], color[2])
