"""The import of annotations. It imports neither Keras nor TensorFlow."""

from collections.abc import Mapping, Sequence
from typing import Any

from pdanet_tf.cli.outputs import open_console
from pdanet_tf.cli.spelling import spell_as_options
from pdanet_tf.data.importing.importer import import_labels
from pdanet_tf.data.readers import set_pixel_limit


def import_annotations(
    source: list[str], split_lists: list[str] | None, ignore_label: list[int] | None, **options: Any
) -> int:
    """Imports annotations, and prints what was imported and what `validate-data` would print.

    Args:
        source: A file or folder, or SPLIT=PATH for each split.
        split_lists: SPLIT=FILE for each split.
        ignore_label: Values of unlabelled pixels.
        options: The other arguments of `pdanet_tf.data.import_labels`.

    Returns:
        1 if the new folder has a fatal problem, 0 otherwise.
    """
    set_pixel_limit()
    whole = source[0] if len(source) == 1 and "=" not in source[0] else _by_split("SOURCE", source)
    report = import_labels(
        whole,
        split_lists=None if split_lists is None else _by_split("--split-lists", split_lists),
        ignore_label=ignore_label,
        **options,
    )
    open_console().print(report.validation.table())
    names = ("split_lists", "ignore_label", *options)
    print(spell_as_options(f"{report.validation.summary()}\n{report.summary()}", names))
    print(f"Train with: pdanet-tf train --dataset folder --data-dir {report.folder}")
    return 1 if report.validation.fatal else 0


def _by_split(option: str, words: Sequence[str]) -> Mapping[str, str]:
    """Parses SPLIT=PATH words."""
    parts = [word.partition("=") for word in words]
    splits = [split for split, _, _ in parts]
    if not all(split and path for split, _, path in parts) or len({*splits}) < len(splits):
        raise ValueError(
            f"{option} takes SPLIT=PATH, once for each split, such as train=PATH validation=PATH. "
            f"Received: {' '.join(words)}"
        )
    return {split: path for split, _, path in parts}
