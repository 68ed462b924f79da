"""The metadata at the head of a card: YAML that Hugging Face reads."""

import json
import re
from collections.abc import Mapping
from typing import Any

from pdanet_tf.sharing.facts import OWN_FILES, CardFacts
from pdanet_tf.sharing.sections import score_name

_TASK = "image-segmentation"
_DIGITS = 4  # of scores after the point
_PLAIN = re.compile(r"[A-Za-z][\w./ -]*[\w.]")
# Words that YAML 1.1 reads as truth values or as nothing.
_RESERVED = {"true", "false", "null", "yes", "no", "on", "off"}


def front_matter(facts: CardFacts) -> str:
    """Returns the metadata of a card between two lines `---`.

    Licence and results that are not known are left out.

    Source:
        https://huggingface.co/docs/hub/model-cards, and `ModelCardData` of huggingface_hub.
    """
    data = _dataset(facts)
    content: dict[str, Any] = {
        "license": facts.license,
        "library_name": "keras",
        "pipeline_tag": _TASK,
        "tags": ["pdanet_tf", "semantic-segmentation", "keras", facts.model],
        "datasets": [data[0]] if data is not None and data[0] not in OWN_FILES else None,
    }
    if data is not None:
        scores = _scores(facts)
        content["metrics"] = [*scores]
        content["model-index"] = [{"name": facts.title, "results": [_results(data, scores)]}]
    lines = _format({key: value for key, value in content.items() if value is not None})
    return "---\n" + "\n".join(lines) + "\n---"


def _dataset(facts: CardFacts) -> tuple[str, str] | None:
    """Returns name and split of the data that the scores are for; None if there are no scores."""
    if facts.measured is not None:
        return facts.measured.dataset, facts.measured.split
    if facts.run is not None:
        return str(facts.run.config["dataset"]), "validation"
    return None


def _scores(facts: CardFacts) -> dict[str, float]:
    """Returns the scores by the names of Hugging Face's metrics."""
    if facts.measured is None:
        return {} if facts.run is None else dict(facts.run.scores)
    assessment = facts.measured.assessment
    scores = assessment.evaluation.scores
    found = {
        "mean_iou": scores.mean_iou,
        "pixel_accuracy": scores.pixel_accuracy,
        "mean_accuracy": scores.mean_accuracy,
    }
    if assessment.calibration is not None:
        found["expected_calibration_error"] = assessment.calibration.expected_error
    return found


def _results(data: tuple[str, str], scores: Mapping[str, float]) -> dict[str, Any]:
    name, split = data
    return {
        "task": {"type": _TASK, "name": "Semantic segmentation"},
        "dataset": {"type": name, "name": f"{name}, {split} split", "split": split},
        "metrics": [
            {"type": key, "value": round(value, _DIGITS), "name": score_name(key)}
            for key, value in scores.items()
        ],
    }


def _format(value: Mapping[str, Any] | list[Any], indent: str = "") -> list[str]:
    """Returns the lines of a mapping or of a list in YAML's block style."""
    if isinstance(value, list):
        lines = []
        for item in value:
            if isinstance(item, dict):
                first, *rest = _format(item, f"{indent}  ")
                lines += [f"{indent}- {first.strip()}", *rest]
            else:
                lines.append(f"{indent}- {_scalar(item)}")
        return lines
    lines = []
    for key, item in value.items():
        if isinstance(item, dict | list):
            deeper = f"{indent}  " if isinstance(item, dict) else indent
            lines += [f"{indent}{key}:", *_format(item, deeper)]
        else:
            lines.append(f"{indent}{key}: {_scalar(item)}")
    return lines


def _scalar(value: str | float) -> str:
    """Returns a text or a number; JSON's notation of both is YAML."""
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _RESERVED:
        return value
    return json.dumps(value, ensure_ascii=False)
