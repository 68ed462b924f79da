"""Measurement of the speed, the memory and the operations of models."""

from typing import TYPE_CHECKING

from pdanet_tf.base.lazy import lazy_attributes

if TYPE_CHECKING:
    from pdanet_tf.benchmark.cases import Case
    from pdanet_tf.benchmark.flops import count_flops
    from pdanet_tf.benchmark.report import Benchmark, Result
    from pdanet_tf.benchmark.runner import run_benchmark

__all__ = [
    "Benchmark",
    "Case",
    "Result",
    "count_flops",
    "run_benchmark",
]

__getattr__ = lazy_attributes(
    __name__,
    {
        "Benchmark": "pdanet_tf.benchmark.report",
        "Case": "pdanet_tf.benchmark.cases",
        "Result": "pdanet_tf.benchmark.report",
        "count_flops": "pdanet_tf.benchmark.flops",
        "run_benchmark": "pdanet_tf.benchmark.runner",
    },
)
