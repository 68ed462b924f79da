"""Tables in Markdown about the runs on CamVid."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from records import LAST_EPOCHS, Record

from pdanet_tf.base.markdown import markdown_table
from pdanet_tf.base.wording import quantity
from pdanet_tf.training.summaries import RunGroup

NOTHING = "No run has ended yet."


def groups(records: Sequence[Record]) -> dict[str, list[Record]]:
    """Returns the runs that have ended, by name, in the order in which the names come first."""
    ended: dict[str, list[Record]] = {}
    for record in records:
        if record.summary is not None:
            ended.setdefault(record.name, []).append(record)
    return ended


def scores(records: Sequence[Record]) -> str:
    """Returns a table of scores, a row for each name: means over the seeds, with their spread.

    A run with changes is compared with the run of the same model without any, which has the name of
    its model, if that has ended with the same budget: in the mean IoU of the best epoch, and in
    that of the last epochs.
    """
    ended = groups(records)
    if not ended:
        return NOTHING
    shared = _shared([found[0] for found in ended.values()])
    columns: dict[str, list[str]] = {}
    for name, found in ended.items():
        group, last = _group(found), [score for each in found for score in each.last_scores]
        base = ended.get(found[0].config.model, found)
        if _budget(base[0]) != _budget(found[0]):
            base = found  # there is nothing to compare with
        changes = {key: value for key, value in found[0].changes.items() if key not in shared}
        row = {
            "run": f"`{name}`",
            "changes": _spell(changes),
            "seeds": ", ".join(str(each.config.seed) for each in found),
            "mean IoU": _with_spread(group, "mean_iou"),
            "difference": _difference(found, base, lambda each: _group(each).mean("mean_iou")),
            f"last {LAST_EPOCHS} epochs": (
                f"{_mean_of_last(found):.4f} ({min(last):.3f} to {max(last):.3f})" if last else ""
            ),
            "their difference": _difference(found, base, _mean_of_last),
            "pixel accuracy": _with_spread(group, "pixel_accuracy"),
            "mean accuracy": _with_spread(group, "mean_accuracy"),
            "best epoch": ", ".join(f"{each.best_epoch} of {each.epochs}" for each in found),
            "minutes": ", ".join(minutes(each) for each in found),
        }
        for heading, cell in row.items():
            columns.setdefault(heading, []).append(cell)
    compared = {heading: cells for heading, cells in columns.items() if any(cells)}
    rows = [list(row) for row in zip(*compared.values(), strict=True)]
    common = {key: next(iter(ended.values()))[0].changes[key] for key in sorted(shared)}
    text = f"All runs: {_spell(common)}.\n\n" if common else ""
    return text + markdown_table([*compared], rows, [*compared].index("mean IoU"))


def classes(records: Sequence[Record]) -> str:
    """Returns a table of the IoU of each class, means over the seeds, a column for each name."""
    ended = groups(records)
    if not ended:
        return NOTHING
    names = next(iter(ended.values()))[0].iou
    rows = [
        [name, *(f"{_mean([each.iou[name] for each in found]):.3f}" for found in ended.values())]
        for name in names
    ]
    return markdown_table(["class", *(f"`{name}`" for name in ended)], rows)


def gammas(records: Sequence[Record]) -> str:
    """Returns tables of the attention scales after the last epoch, one for each set of scales."""
    with_scales = [record for record in records if record.gamma_columns]
    if not with_scales:
        return NOTHING
    kinds = dict.fromkeys(tuple(record.gamma_columns) for record in with_scales)
    found = []
    for columns in kinds:
        rows = [
            [
                f"`{record.name}`",
                str(record.config.seed),
                str(record.epochs),
                *(f"{record.history[-1].get(column, math.nan):.3f}" for column in columns),
                "" if record.summary is None else f"{record.summary.scores['mean_iou']:.4f}",
                "" if record.without_attention is None else f"{record.without_attention:.4f}",
            ]
            for record in with_scales
            if tuple(record.gamma_columns) == columns
        ]
        titles = [column.removeprefix("gamma_").replace("_", " ") for column in columns]
        titles += ["mean IoU", "with all at 0"]
        found.append(markdown_table(["run", "seed", "epochs", *titles], rows))
    return "\n\n".join(found)


def open_runs(records: Sequence[Record], planned: Mapping[str, Sequence[str]]) -> str:
    """Returns a list of the runs that have not ended, with their epochs.

    Args:
        records: The runs that were begun.
        planned: The names of the runs of each study.
    """
    lines = [
        f"- `{record.name}`, seed {record.config.seed}: {record.epochs} of "
        f"{quantity(record.config.epochs, 'epoch')}"
        + (f", best mean IoU so far {record.best_score:.4f}" if record.epochs else "")
        for record in records
        if record.summary is None
    ]
    names = {record.name for record in records}
    for study, wanted in planned.items():
        missing = [f"`{name}`" for name in wanted if name not in names]
        if missing:
            lines.append(f"- study `{study}`, not begun: {', '.join(missing)}")
    return "\n".join(lines) or "Every run has ended."


def machines(records: Sequence[Record]) -> str:
    """Returns a table of the machines, with the runs and the hours on each."""
    hours: dict[str, float] = {}
    names: dict[str, dict[str, None]] = {}
    for record in records:
        for call in record.calls:
            machine = f"{call.machine}; {call.processor}"
            hours[machine] = hours.get(machine, 0) + call.seconds / 3600
            names.setdefault(machine, {})[record.name] = None
    rows = [
        [machine, ", ".join(f"`{name}`" for name in names[machine]), f"{hours[machine]:.1f}"]
        for machine in hours
    ]
    missing = [f"`{record.name}`" for record in records if record.seconds is None]
    text = markdown_table(["machine", "runs", "hours"], rows, 2) if rows else ""
    if missing:
        text += f"\n\nThe times of {', '.join(missing)} were not recorded completely."
    return text.strip() or NOTHING


def minutes(record: Record) -> str:
    """Returns the time of a run, as far as it is known."""
    return "?" if record.seconds is None else f"{record.seconds / 60:.0f}"


def _shared(records: Sequence[Record]) -> set[str]:
    """Returns the names of the changes that all of several runs have in common."""
    changes = [record.changes for record in records]
    return {
        name
        for name, value in changes[0].items()
        if len(changes) > 1 and all(name in other and other[name] == value for other in changes)
    }


def _budget(record: Record) -> list[Any]:
    """Returns the options in which runs must agree to be compared, whatever else they change."""
    names = ("epochs", "steps_per_epoch", "batch_size", "precision")
    return [getattr(record.config, name) for name in names]


def _spell(changes: Mapping[str, Any]) -> str:
    return ", ".join(f"`{key}={json.dumps(value)}`" for key, value in changes.items())


def _group(records: Sequence[Record]) -> RunGroup:
    return RunGroup([record.summary for record in records if record.summary is not None], {})


def _mean_of_last(records: Sequence[Record]) -> float:
    """Returns the mean of the scores of the last epochs of all seeds."""
    return _mean([score for each in records for score in each.last_scores] or [math.nan])


def _difference(
    records: Sequence[Record],
    base: Sequence[Record],
    score: Callable[[Sequence[Record]], float],
) -> str:
    """Returns by how much a score is above that of the run to compare with; "" for that run."""
    return "" if records is base else f"{score(records) - score(base):+.4f}"


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _with_spread(group: RunGroup, score: str) -> str:
    spread = group.spread(score)
    mean = f"{group.mean(score):.4f}"
    return mean if math.isnan(spread) else f"{mean} ± {spread:.4f}"
