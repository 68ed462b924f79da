"""What `pdanet-tf predict` reads from its manifest and writes to it."""

import sys
from collections.abc import Iterable
from pathlib import Path

from pdanet_tf.cli.errors import print_error
from pdanet_tf.cli.images import print_areas
from pdanet_tf.inference.manifest import Manifest, Record, begin_record
from pdanet_tf.inference.results import Results

_IN_FLIGHT = 64  # images that a killed process may have been writing, at most


def take_pending(
    manifest: Manifest, results: Results, images: Iterable[Path], settings: str
) -> list[Path]:
    """Returns the images that no earlier call has segmented with the same settings.

    An image is segmented again if it has changed since, if it failed, or if a result is missing.

    Args:
        manifest: The manifest of the folder.
        results: The results in the folder.
        images: The images of this call.
        settings: Hash of its settings.
    """
    pending, done = [], 0
    for image in images:
        if manifest.holds(begin_record(image, settings)) and results.are_written(image):
            done += 1
        else:
            pending.append(image)
    if done:
        print(
            f"pdanet-tf: segmented before with the same settings: {done:,} of "
            f"{done + len(pending):,}; to segment them again, remove {manifest.path}",
            file=sys.stderr,
        )
    if manifest.is_continued:
        for image in pending[:_IN_FLIGHT]:
            results.remove_leftovers(image)
    return pending


def report(
    outcomes: Iterable[tuple[Path, Record, Exception | None]], manifest: Manifest, debug: bool
) -> int:
    """Prints and records the outcome of each image; returns the number of those that failed."""
    failed = 0
    for file, record, error in outcomes:
        manifest.append(record)
        if error is None:
            print_areas(file, record.classes or {})
        else:
            failed += 1
            print_error(error, debug)
    return failed
