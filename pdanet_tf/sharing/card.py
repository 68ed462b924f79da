"""The card of a model: README.md in the format of Hugging Face.

It is written from facts (`CardFacts`) alone, by `pdanet-tf evaluate --card`, by `pdanet-tf push`,
and by the examples. It is in this package because it says how a model was trained and what it
scores: it requires both `pdanet_tf.training` and `pdanet_tf.evaluation`.
"""

import os
import re
from pathlib import Path

from pdanet_tf.base.markdown import fill
from pdanet_tf.evaluation.diagram import reliability_diagram
from pdanet_tf.files import write_atomically
from pdanet_tf.sharing import measured as figures
from pdanet_tf.sharing.facts import CardFacts
from pdanet_tf.sharing.front_matter import front_matter
from pdanet_tf.sharing.sections import (
    USAGE,
    describe_classes,
    describe_model,
    describe_run_scores,
    describe_spread,
    describe_training,
    describe_usage,
)

CARD_FILE = "README.md"
_DIAGRAM = "_reliability.svg"  # after the card's name without ".md"
_MARK = "<!-- pdanet-tf wrote this card: only what is below its last comment may be edited. -->"
_NOTES = "<!-- Text below this line stays as it is when the card is written again. -->"
_LICENSE = re.compile(r"^license: (.+)\n", re.MULTILINE)


def card_path(path: str | os.PathLike[str]) -> Path:
    """Returns the file of a card; in a folder, `README.md`.

    Raises:
        ValueError: If the path is not a Markdown file, or if pdanet-tf did not write the file that
            is there.
    """
    file = Path(path)
    if file.is_dir():
        file /= CARD_FILE
    if file.suffix.lower() != ".md":
        raise ValueError(
            f"{path}: expected a Markdown file for the card, such as {CARD_FILE}, or a folder that "
            "exists"
        )
    if file.exists() and not is_own_card(read_card(file)):
        raise ValueError(
            f"{file}: exists, and pdanet-tf did not write it. Choose another name for the card, or "
            "move that file"
        )
    return file


def diagram_path(card: Path) -> Path:
    """Returns the file of the reliability diagram beside a card."""
    return card.with_name(f"{card.stem}{_DIAGRAM}")


def write_card(path: str | os.PathLike[str], facts: CardFacts, notes: str | None = None) -> Path:
    """Writes the card of a model, and its reliability diagram beside it if it was measured.

    A card that pdanet-tf wrote before is replaced; the text below its last comment stays, and its
    licence unless the facts have another. Any other file is not replaced.

    Args:
        path: A Markdown file, or a folder for `README.md`.
        facts: What the card says.
        notes: Text below the last comment, in Markdown; by default what is there.

    Returns:
        The card's file.

    Raises:
        OSError: If a file cannot be written.
        ValueError: As in `card_path`.

    Example:
        ```python
        dataset = pdanet_tf.load_dataset("camvid", "validation", "CamVid")
        file = "runs/camvid/best.keras"
        model, settings = pdanet_tf.inference.settings.load_model(file)
        assessment = pdanet_tf.evaluation.assess(model, dataset)
        measured = pdanet_tf.sharing.Measurement(
            assessment, "camvid", "validation", pdanet_tf.Protocol()
        )
        write_card("runs/camvid", CardFacts.of_model(model, settings, file, measured))
        ```
    """
    file = card_path(path)
    former = read_card(file) if file.exists() else ""
    diagram = diagram_path(file)
    calibration = None if facts.measured is None else facts.measured.assessment.calibration
    if calibration is not None:
        write_atomically(diagram, reliability_diagram(calibration, alone=True) + "\n")
    kept = former.partition(_NOTES)[2].lstrip("\n") if notes is None else notes
    text = format_card(facts, diagram.name) + kept
    license = _LICENSE.search(former.partition(_MARK)[0])
    if facts.license is None and license is not None:
        text = _with_license(text, license[1])
    write_atomically(file, text)
    return file


def format_card(facts: CardFacts, diagram: str = f"README{_DIAGRAM}") -> str:
    """Returns the text of a card: metadata in YAML, then sections in Markdown.

    It ends with a comment, below which text of the user's own can stand.

    Args:
        facts: What the card says.
        diagram: Name of the file of the reliability diagram.
    """
    usage = describe_usage(facts.source, facts.architecture)
    parts = [front_matter(facts), _MARK, *describe_model(facts), usage]
    if facts.measured is not None:
        assessment = facts.measured.assessment
        parts += figures.describe_scores(facts.measured)
        parts += describe_spread(facts)
        parts += figures.describe_measured_classes(assessment)
        parts += figures.describe_confusion(assessment.confusion, assessment.evaluation.classes)
        if assessment.calibration is not None:
            parts += figures.describe_calibration(assessment.calibration, diagram)
        parts += figures.describe_speed(assessment)
    else:
        if facts.run is not None:
            parts += describe_run_scores(facts.run)
        parts += describe_spread(facts)
        parts += describe_classes(facts)
    parts += [*describe_training(facts), *figures.describe_limits(facts), _NOTES]
    return "\n\n".join(map(fill, parts)) + "\n\n"


def read_card(file: Path) -> str:
    """Reads a card.

    Raises:
        OSError: If there is no such file.
        ValueError: If it is not text in UTF-8; the message names the file.
    """
    try:
        return file.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file}: not a card in UTF-8") from error


def is_own_card(text: str) -> bool:
    """Returns whether pdanet-tf wrote a card."""
    return _MARK in text and _NOTES in text


def is_card(text: str) -> bool:
    """Returns whether a text is a card: whether it begins with metadata."""
    return re.match(r"---\n.*?\n---(\n|$)", text, re.DOTALL) is not None


def adapt_card(text: str, source: str, license: str | None) -> str:
    """Returns a card that pdanet-tf wrote, for another place of the model.

    Args:
        text: The card.
        source: What `--model` takes there.
        license: Identifier of the licence; None to leave that of the card.
    """
    head, usage, rest = text.partition(f"\n{USAGE}\n")
    if usage:
        rest = rest[rest.index("\n## ") :]
        text = f"{head}\n{describe_usage(source)}\n{rest}"
    return text if license is None else _with_license(text, license)


def _with_license(text: str, license: str) -> str:
    """Returns a card with a licence in its metadata."""
    head, mark, rest = text.partition(_MARK)
    head = _LICENSE.sub("", head).replace("---\n", f"---\nlicense: {license}\n", 1)
    return head + mark + rest
