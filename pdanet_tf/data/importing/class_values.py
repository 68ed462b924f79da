"""Decides the classes of the new folder, and the value of each name of the source."""

from collections.abc import Sequence

from pdanet_tf.base.fields import with_nearest
from pdanet_tf.data.classes import Classes
from pdanet_tf.data.importing.render import VOID
from pdanet_tf.data.importing.source import Source
from pdanet_tf.data.problems import DataError, Problem

_MOST_CLASSES = 255  # annotations have 8 bits, and 255 is void
_BACKGROUND = "background"


def decide_classes(
    source: Source, class_names: Sequence[str], ignore: Sequence[str], unlabelled: str
) -> tuple[Classes, dict[str, int], int]:
    """Decides classes and values.

    Args:
        source: What was read.
        class_names: The wanted names in order; empty for those of the source.
        ignore: Names that become void.
        unlabelled: "background" or "ignore".

    Returns:
        The classes; the value of each name, `VOID` for those in `ignore`; and the value of pixels
        that belong to no shape.

    Raises:
        ValueError: If there are more than 255 classes.
        DataError: If the source has names that are not among `class_names`, or no class.
    """
    names = [name for name in class_names or source.names if name not in ignore]
    unknown = [name for name in source.names if name not in {*names, *ignore}]
    if not names:
        raise DataError("The annotations contain no class. Set class_names")
    background = source.background or next(
        (name for name in names if name.strip("_ ").lower() == _BACKGROUND), None
    )
    if unlabelled == _BACKGROUND and not source.complete and background is None:
        background = _BACKGROUND
        names.insert(0, background)
    if unknown:
        raise DataError(
            Problem(
                "class_names",
                "unknown classes",
                f"the annotations have the classes {with_nearest(unknown, names)}, which are not "
                "among class_names",
                "Add them to class_names, or to ignore",
            )
        )
    if len(names) > _MOST_CLASSES:
        raise ValueError(
            f"Annotations of 8 bits can have {_MOST_CLASSES} classes. Received: {len(names)}"
        )
    values = {name: index for index, name in enumerate(names)} | dict.fromkeys(ignore, VOID)
    fill = VOID
    if unlabelled == _BACKGROUND and not source.complete and background is not None:
        fill = values[background]
    classes = Classes.named(names)
    if source.colors:
        bright = zip(names, classes.colors, strict=True)
        classes = Classes(
            tuple(names), tuple(source.colors.get(name, color) for name, color in bright)
        )
    return classes, values, fill
