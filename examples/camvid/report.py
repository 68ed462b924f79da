"""Writes the results of the runs on CamVid that `compare.py` has made, whichever have ended.

    python examples/camvid/report.py --data-dir CamVid

The folder `--results` gets `README.md` (from the template `results.md`), a JSON file for each run,
curves, the label maps that the models predict for three validation scenes, and model cards. Because
of CamVid's licence it contains neither images nor annotations; `scenes.png` in the folder of the
runs shows these beside the predictions. Without `--data-dir` the label maps stay as they are.

Runs that were made elsewhere, of which `--results` has only the JSON file, stay in the tables, with
their cards. The label maps then stay as they are, because drawing them takes all models.
"""

import argparse
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import tables
from cards import card_file, write_run_card
from drawings import (
    choose_scenes,
    draw_curves,
    draw_gammas,
    draw_sheet,
    predict_scenes,
    save_png,
)
from jax_run import describe_last, draw_jax_run, read_jax_run
from records import Record, read_records
from studies import BACKBONES, RECIPE, STUDIES, spell_study

import pdanet_tf
from pdanet_tf.base.fields import with_nearest
from pdanet_tf.files import read_json, write_atomically
from pdanet_tf.recipes import find

TEMPLATE = Path(__file__).with_name("results.md")
_PREDICTIONS = "predictions.png"
_SHIPPED_RUN, _SHIPPED_CURVES = "runs/shipped_model.json", "curves-shipped.png"


def write_report(
    runs: Path,
    results: Path,
    backbone: str,
    data_dir: str | None,
    shipped_run: Path | None = None,
) -> None:
    """Writes all results.

    Args:
        runs: The folder of the runs.
        results: The folder to write to.
        backbone: The backbone of the models. A study that was begun with others has the one with
            most runs; the attention scales are shown for all of them.
        data_dir: The folder of CamVid; None to draw no label maps.
        shipped_run: The folder of the run of `train_on_jax.py` that made the model of the package;
            None to leave what the results say of it.

    Raises:
        FileNotFoundError: If there is no run.
        ValueError: If a file of a run is damaged, or the template asks for something unknown.
    """
    everything = read_records(runs, results / "runs")
    here = [record for record in everything if record.folder is not None]
    if not here:
        raise FileNotFoundError(f"{runs} contains no run in a folder NAME/seedSEED")
    for folder in (results / "runs", results / "cards"):
        folder.mkdir(parents=True, exist_ok=True)
    begun = {record.name for record in everything}
    backbones = {study: _backbone(study, begun, backbone) for study in STUDIES}
    planned = {study: [*STUDIES[study](backbones[study])] for study in STUDIES}
    ended = {record.name for record in everything if record.summary is not None}
    shown = {**planned, "gamma": [*planned["gamma"], *_of_other_backbones(planned, ended)]}
    by_study = {
        study: [r for name in names for r in everything if r.name == name]
        for study, names in shown.items()
    }
    for record in here:
        _write_json(results / "runs" / record.file_name, record.to_dict())
    if shipped_run is not None:
        shipped = read_jax_run(shipped_run)
        _write_json(results / _SHIPPED_RUN, shipped)
        save_png(draw_jax_run(shipped), results / _SHIPPED_CURVES)
    for study, records in by_study.items():
        drawn = [record for record in records if record.epochs]
        if drawn:
            save_png(draw_curves(drawn), results / f"curves-{study}.png")
    scaled = [record for record in by_study["gamma"] if record.gamma_columns]
    if scaled:
        save_png(draw_gammas(scaled), results / "gammas.png")
    models = [each for each in by_study["models"] if each.summary is not None]
    if data_dir is not None and models and all(each.folder is not None for each in models):
        _draw_predictions(models, data_dir, results / _PREDICTIONS, runs / "scenes.png")
    for record in models:
        if record.folder is not None:
            write_run_card(record, models, results / "cards")
    cards = [card for each in models if (card := card_file(each, results / "cards")).exists()]
    commands = {
        study: spell_study(study, backbones[study], configs)
        for study, names in planned.items()
        if (configs := [record.config for record in everything if record.name in names])
    }
    inserts = _inserts(everything, by_study, planned, commands, cards, results)
    write_atomically(results / "README.md", fill(TEMPLATE.read_text("utf-8"), inserts))


def _write_json(file: Path, content: Mapping[str, Any]) -> None:
    """Writes a line for each entry."""
    lines = (f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in content.items())
    write_atomically(file, "{\n" + ",\n".join(lines) + "\n}\n")


def _backbone(study: str, begun: Set[str], backbone: str) -> str:
    """Returns the backbone with which most of a study's runs have been begun."""
    return max((backbone, *BACKBONES), key=lambda each: len(begun & {*STUDIES[study](each)}))


def _of_other_backbones(planned: Mapping[str, Sequence[str]], ended: Set[str]) -> list[str]:
    """Returns the runs of the study of gamma that have ended with other backbones."""
    names = dict.fromkeys(name for each in BACKBONES for name in STUDIES["gamma"](each))
    return [name for name in names if name in ended and name not in planned["gamma"]]


def fill(template: str, inserts: Mapping[str, Callable[[], str]]) -> str:
    """Returns a template with its lines `<!-- insert NAME -->` replaced, and without comments.

    Raises:
        ValueError: If there is no such insert; the message names the nearest.
    """

    def insert(match: re.Match[str]) -> str:
        name = match[1]
        if name not in inserts:
            raise ValueError(f"{TEMPLATE}: there is no insert {with_nearest([name], inserts)}")
        return inserts[name]()

    filled = re.sub(r"<!-- insert (.+?) -->", insert, template)
    text = re.sub(r"<!--.*?-->\n\n?", "", filled, flags=re.DOTALL)
    return f"<!-- `report.py` wrote this file from examples/camvid/results.md. -->\n\n{text}"


def _inserts(
    everything: Sequence[Record],
    by_study: Mapping[str, Sequence[Record]],
    planned: Mapping[str, Sequence[str]],
    commands: Mapping[str, str],
    cards: Sequence[Path],
    results: Path,
) -> dict[str, Callable[[], str]]:
    """Returns a function for each insert of the template."""

    def picture(name: str, text: str) -> Callable[[], str]:
        return lambda: f"![{text}]({name})" if (results / name).exists() else tables.NOTHING

    def study_scores(study: str) -> Callable[[], str]:
        return lambda: tables.scores(by_study[study])

    def study_command(study: str) -> Callable[[], str]:
        command = commands.get(study)
        return lambda: tables.NOTHING if command is None else f"```sh\n{command}\n```"

    def shipped() -> str:
        file = results / _SHIPPED_RUN
        return describe_last(read_json(file)) if file.exists() else tables.NOTHING

    def study_classes(study: str) -> Callable[[], str]:
        return lambda: tables.classes(by_study[study])

    toml = find(RECIPE).to_toml()
    return {
        **{f"command {study}": study_command(study) for study in by_study},
        **{f"scores {study}": study_scores(study) for study in by_study},
        **{f"classes {study}": study_classes(study) for study in by_study},
        **{
            f"curves {study}": picture(f"curves-{study}.png", f"Curves of the study {study}")
            for study in by_study
        },
        "gammas": lambda: (
            f"{tables.gammas(by_study['gamma'])}\n\n"
            f"{picture('gammas.png', 'The attention scales by epoch')()}"
        ),
        "shipped": shipped,
        "curves shipped": picture(_SHIPPED_CURVES, "Curves of the model that ships"),
        "predictions": picture(_PREDICTIONS, "Predictions of every model for three scenes"),
        "open": lambda: tables.open_runs(everything, planned),
        "recipe": lambda: f"`pdanet-tf recipes {RECIPE}`:\n\n```toml\n{toml}```",
        "machines": lambda: tables.machines(everything),
        "cards": lambda: (
            "\n".join(f"- [{card.stem}](cards/{card.name})" for card in cards) or tables.NOTHING
        ),
    }


def _draw_predictions(models: Sequence[Record], data_dir: str, file: Path, scenes: Path) -> None:
    """Draws what the models predict for three scenes; of each model the first seed.

    Args:
        models: Runs that have ended, whose folders are here.
        data_dir: The folder of CamVid.
        file: File for the predictions alone.
        scenes: File for the same beside the images and the annotations.
    """
    dataset = pdanet_tf.load_dataset("camvid", "validation", data_dir)
    chosen = choose_scenes(dataset)
    images, labels = zip(*map(dataset.read, chosen), strict=True)
    titles = [dataset.name(index) for index in chosen]
    rows = {
        name: predict_scenes(folder / "best.keras", images)
        for name, found in tables.groups(models).items()
        if (folder := found[0].folder) is not None
    }
    save_png(draw_sheet(rows, dataset.classes, titles), file)
    rows = {"image": list(images), "annotation": list(labels), **rows}
    draw_sheet(rows, dataset.classes, titles).save(scenes)


def main() -> int:
    """Writes the report; returns the exit status."""
    parser = argparse.ArgumentParser(description="Writes the results of the runs on CamVid.")
    parser.add_argument("--runs", type=Path, default=Path("runs/camvid"))
    parser.add_argument("--results", type=Path, default=Path("results/camvid"))
    parser.add_argument("--data-dir", help="folder of CamVid, to draw predictions")
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument(
        "--shipped-run",
        type=Path,
        metavar="FOLDER",
        help="folder of the run of train_on_jax.py that made the model of the package",
    )
    options = parser.parse_args()
    try:
        write_report(
            options.runs,
            options.results,
            options.backbone,
            options.data_dir,
            options.shipped_run,
        )
    except (ValueError, OSError) as error:
        print(f"report.py: error: {error}", file=sys.stderr)
        return 1
    print(f"The results are in {options.results}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
