"""The comparison of runs. It imports neither Keras nor TensorFlow."""

from pdanet_tf.cli.outputs import check_outputs, show
from pdanet_tf.training.summaries import RunComparison


def compare_runs(folders: list[str], json: str | None, chart: str | None) -> None:
    """Prints the scores of runs that have ended.

    Args:
        folders: Folders of runs, or folders that contain them.
        json: JSON file to write the figures to.
        chart: Image file to draw the mean IoU of each group of runs to.
    """
    check_outputs(json, chart)
    show(RunComparison.of_folders(folders), json, chart)
