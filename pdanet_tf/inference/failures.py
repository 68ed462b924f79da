"""Which errors concern one image of many, so that the others are segmented all the same."""

from pdanet_tf.base.full_memory import find_full_memory
from pdanet_tf.data.problems import DataError, Problem


def failure_of(file: object, error: Exception) -> Exception | None:
    """Returns the error to report for an image; None if the error is not about this image.

    A full memory counts as a failure of the image that needs it, whatever the backend calls it.

    Args:
        file: The path or the URL of the image, for the message.
        error: What reading, inference or writing raised.
    """
    detail = find_full_memory(error)
    if detail is not None:
        text = f"the memory is full ({detail})"
        advice = "Segment large images in windows, or reduce them"
        return DataError(Problem(str(file), "too large for the memory", text, advice))
    return error if isinstance(error, DataError | OSError) else None
