"""The command `evaluate`."""

from typing import Any

import pdanet_tf
from pdanet_tf.cli.inputs import load_for_inference, open_dataset, read_crf, take_protocol
from pdanet_tf.cli.outputs import check_outputs, check_writable, show
from pdanet_tf.data import FolderDataset, SegmentationDataset
from pdanet_tf.evaluation.assessing import assess, assess_predictions
from pdanet_tf.evaluation.page import write_assessment
from pdanet_tf.evaluation.scoring import check_pixel_format, evaluate_predictions, open_predictor
from pdanet_tf.inference.predictor import Predictor


def evaluate(
    model: str | None,
    predictions: str | None,
    weights: str | None,
    precision: str | None,
    crf: list[str] | None,
    json: str | None,
    chart: str | None,
    report: str | None,
    compare_with: str | None,
    save_predictions: str | None,
    resume: bool,
    **options: Any,
) -> None:
    """Scores a model, or stored predictions, and writes what the options ask for.

    Raises:
        ValueError: If options contradict each other, or as in `pdanet_tf.evaluate`.
        OSError: If a file cannot be read or written.
    """
    check_outputs(json, chart, report)
    if resume and save_predictions is None:
        raise ValueError(
            "--resume requires --save-predictions, the folder of the predictions so far"
        )
    if report is None and compare_with is not None:
        raise ValueError("--compare-with requires --report, which shows the difference")
    if report is not None:
        check_writable("--report", report)
        if resume:
            raise ValueError(
                "--report shows the calibration, for which stored predictions have no "
                "probabilities. Leave out --resume, or score the folder with --predictions"
            )
    protocol = take_protocol(weights or model, dict(options))
    if model is None:
        given = (weights, protocol, precision, crf is not None, save_predictions, compare_with)
        if any(given):
            raise ValueError(
                "Options of inference require --model; --predictions scores stored label maps"
            )
        _score_stored(str(predictions), json, chart, report, options)
        return
    data = dict(options)
    take_protocol(None, data)
    dataset = open_dataset(**data)
    loaded, settings = load_for_inference(model, weights, precision)
    if settings is not None:
        check_pixel_format(settings.pixel_format, dataset)
    settled: dict[str, Any] = {
        "protocol": protocol,
        "crf": read_crf(crf),
        "predictions": save_predictions,
    }
    if report is None:
        show(pdanet_tf.evaluate(loaded, dataset, resume=resume, **settled), json, chart)
        return
    other = None
    if compare_with is not None:
        other = _open_other(compare_with, precision, crf, dataset, options)
    assessment = assess(loaded, dataset, other=other, other_name=str(compare_with), **settled)
    write_assessment(report, assessment, weights or model)
    show(assessment, json, chart)


def _score_stored(
    folder: str, json: str | None, chart: str | None, report: str | None, options: dict[str, Any]
) -> None:
    take_protocol(None, options)
    dataset = open_dataset(**options)
    if not isinstance(dataset, FolderDataset):
        raise ValueError("--predictions requires a data set in a folder")
    if report is None:
        show(evaluate_predictions(folder, dataset), json, chart)
        return
    assessment = assess_predictions(folder, dataset)
    write_assessment(report, assessment, folder)
    show(assessment, json, chart)


def _open_other(
    model: str,
    precision: str | None,
    crf: list[str] | None,
    dataset: SegmentationDataset,
    options: dict[str, Any],
) -> Predictor:
    """Returns the predictor of the model to compare with, under its own settings."""
    protocol = take_protocol(model, options)
    loaded, settings = load_for_inference(model, None, precision)
    if settings is not None:
        check_pixel_format(settings.pixel_format, dataset)
    return open_predictor(loaded, dataset, protocol, read_crf(crf))
