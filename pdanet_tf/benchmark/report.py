"""The results of a benchmark."""

import json
import os
import statistics
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from rich.table import Table

from pdanet_tf.benchmark.cases import Case
from pdanet_tf.charts import draw_bar_chart
from pdanet_tf.files import write_atomically


@dataclass(frozen=True)
class Result:
    """The figures of one case.

    Attributes:
        case: The case.
        seconds: Time of the step in each round.
        memory: Peak memory of a step in MiB, beyond what the process used before.
        gflops: Billions of operations of a step; a multiply-add counts as two, and a training step
            as three times the inference.
        peak: Billions of operations per second of a large matrix product in the same dtype, the
            best of all rounds.
    """

    case: Case
    seconds: tuple[float, ...]
    memory: float
    gflops: float
    peak: float

    @property
    def latency(self) -> float:
        """Median time of a step, in seconds."""
        return statistics.median(self.seconds)

    @property
    def throughput(self) -> float:
        """Images per second."""
        return self.case.batch_size / self.latency

    @property
    def share_of_peak(self) -> float:
        """Operations per second as a share of the peak."""
        return self.gflops / self.latency / self.peak

    def to_dict(self) -> dict[str, Any]:
        """Returns all figures by name, ready for JSON."""
        return {
            **asdict(self.case),
            "seconds": self.seconds,
            "latency": self.latency,
            "throughput": self.throughput,
            "memory_mib": self.memory,
            "gflops": self.gflops,
            "peak_gflops_per_second": self.peak,
            "share_of_peak": self.share_of_peak,
        }


@dataclass(frozen=True)
class Benchmark:
    """All results, and the machine that they were measured on."""

    results: tuple[Result, ...]
    machine: str

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the figures as JSON."""
        content = {
            "machine": self.machine,
            "results": [result.to_dict() for result in self.results],
        }
        write_atomically(Path(path), json.dumps(content, indent=2) + "\n")

    def table(self) -> Table:
        """Returns a table of the figures for `rich.print`."""
        table = Table(title=self.machine)
        for heading in ("model", "task", "size", "batch", "precision", "backend"):
            table.add_column(heading)
        for heading in ("ms", "range", "images/s", "GFLOPs", "of peak", "memory, MiB"):
            table.add_column(heading, justify="right")
        for result in self.results:
            case = result.case
            fastest, slowest = min(result.seconds), max(result.seconds)
            table.add_row(
                case.model,
                case.task,
                "{} x {}".format(*case.size),
                str(case.batch_size),
                case.precision,
                case.backend,
                f"{1000 * result.latency:.0f}",
                f"{1000 * fastest:.0f} to {1000 * slowest:.0f}",
                f"{result.throughput:.2f}",
                f"{result.gflops:.1f}",
                f"{result.share_of_peak:.0%}",
                f"{result.memory:.0f}",
            )
        return table

    def chart(self) -> Image.Image:
        """Draws the throughput of every case as a bar."""
        names = [
            f"{case.model}, {case.task}, {case.size[0]} x {case.size[1]}, batch {case.batch_size}, "
            f"{case.precision}, {case.backend}"
            for case in (result.case for result in self.results)
        ]
        values = [result.throughput for result in self.results]
        return draw_bar_chart(names, values, self.machine, "images per second")
