"""The command `doctor`. It imports neither Keras nor TensorFlow."""

from pdanet_tf.cli.outputs import check_outputs
from pdanet_tf.diagnosis.report import diagnose


def report_installation(json: str | None) -> int:
    """Prints what is installed, what the machine has, and what is wrong.

    Args:
        json: A file to write the report to as well, or None.

    Returns:
        The exit status: 1 if something is broken.
    """
    check_outputs(json, None)
    diagnosis = diagnose()
    for line in diagnosis.lines():
        print(line)
    if json is not None:
        diagnosis.save(json)
    return 0 if diagnosis.usable else 1
