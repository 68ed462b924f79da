"""Work that several threads do at the same time."""

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

_AHEAD = 4  # results per thread that are computed before they are asked for

_Result = TypeVar("_Result")


def map_in_threads(
    function: Callable[[int], _Result], count: int, workers: int | None = None
) -> Iterator[_Result]:
    """Yields `function(0)` to `function(count - 1)` in order, computed in several threads.

    Threads suffice for images: reading, decoding, counting and hashing release Python's global
    lock. Only a few results per thread are in memory at the same time.

    Args:
        function: Function of an index.
        count: Number of calls.
        workers: Number of threads; None for one per core.
    """
    workers = workers or os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[_Result]] = deque()
        for index in range(count):
            waiting.append(pool.submit(function, index))
            if len(waiting) > _AHEAD * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
