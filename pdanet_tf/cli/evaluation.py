"""The command `evaluate`."""

import dataclasses
from typing import Any

import pdanet_tf
from pdanet_tf.cli.inputs import load_for_inference, open_dataset, read_crf, take_protocol
from pdanet_tf.cli.outputs import check_outputs, check_writable, show
from pdanet_tf.data import FolderDataset, SegmentationDataset
from pdanet_tf.evaluation.assessing import assess, assess_predictions
from pdanet_tf.evaluation.page import write_assessment
from pdanet_tf.evaluation.scoring import check_pixel_format, evaluate_predictions, open_predictor
from pdanet_tf.inference.predictor import Predictor
from pdanet_tf.sharing.card import card_path, write_card
from pdanet_tf.sharing.facts import CardFacts, Measurement


def evaluate(
    model: str | None,
    predictions: str | None,
    weights: str | None,
    precision: str | None,
    crf: list[str] | None,
    json: str | None,
    chart: str | None,
    report: str | None,
    thumbnails: bool,
    card: str | None,
    other_seeds: list[str] | None,
    license: str | None,
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
    _check_pages(report, thumbnails, card, other_seeds, license, compare_with, resume)
    protocol = take_protocol(weights or model, dict(options))
    if model is None:
        given = (weights, protocol, precision, crf is not None, save_predictions, compare_with)
        if any(given):
            raise ValueError(
                "Options of inference require --model; --predictions scores stored label maps"
            )
        if card is not None:
            raise ValueError("--card requires --model, which it describes")
        _score_stored(str(predictions), json, chart, report, thumbnails, options)
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
    if report is None and card is None:
        show(pdanet_tf.evaluate(loaded, dataset, resume=resume, **settled), json, chart)
        return
    source = weights or model
    # What the card says of the run is read first, so that an error comes before the evaluation.
    facts = None
    if card is not None:
        facts = CardFacts.of_model(
            loaded,
            settings,
            source,
            runs=other_seeds or (),
            license=license,
            architecture=None if weights is None else model,
        )
    other = None
    if compare_with is not None:
        other = _open_other(compare_with, precision, crf, dataset, options)
    assessment = assess(loaded, dataset, other=other, other_name=str(compare_with), **settled)
    if report is not None:
        write_assessment(report, assessment, source, _name_data(data), thumbnails)
    if card is not None and facts is not None:
        measured = Measurement(
            assessment,
            data["dataset"],
            data["split"],
            protocol or pdanet_tf.Protocol(),
            loaded.dtype_policy.name,
            crf is not None,
            data["data_dir"],
        )
        write_card(card, dataclasses.replace(facts, measured=measured))
    show(assessment, json, chart)


def _check_pages(
    report: str | None,
    thumbnails: bool,
    card: str | None,
    other_seeds: list[str] | None,
    license: str | None,
    compare_with: str | None,
    resume: bool,
) -> None:
    """Checks the options of the report and of the card, before anything is evaluated."""
    for option, value in (("--compare-with", compare_with), ("--no-thumbnails", not thumbnails)):
        if report is None and value:
            raise ValueError(f"{option} requires --report")
    for option, given in (("--other-seeds", other_seeds), ("--license", license)):
        if card is None and given:
            raise ValueError(f"{option} requires --card")
    for option, page in (("--report", report), ("--card", card)):
        if page is None:
            continue
        check_writable(option, str(card_path(page)) if option == "--card" else page)
        if resume:
            raise ValueError(
                f"{option} shows the calibration, for which stored predictions have no "
                "probabilities. Leave out --resume, or score the folder with --predictions"
            )


def _name_data(data: dict[str, Any]) -> str:
    """Returns the name of the data for the report."""
    return f"{data['dataset']}, {data['split']} split"


def _score_stored(
    folder: str,
    json: str | None,
    chart: str | None,
    report: str | None,
    thumbnails: bool,
    options: dict[str, Any],
) -> None:
    take_protocol(None, options)
    dataset = open_dataset(**options)
    if not isinstance(dataset, FolderDataset):
        raise ValueError("--predictions requires a data set in a folder")
    if report is None:
        show(evaluate_predictions(folder, dataset), json, chart)
        return
    assessment = assess_predictions(folder, dataset)
    write_assessment(report, assessment, folder, _name_data(options), thumbnails)
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
