"""Sliding windows over images of any size: the logits that are still required are in a file."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np

from pdanet_tf.base.types import Tensor
from pdanet_tf.inference.protocol import Protocol
from pdanet_tf.inference.windows import View, WindowedImage
from pdanet_tf.ops.grid import CellGrid

_IN_MEMORY = 2**28  # bytes of logits
_FEWEST = 8  # windows that are kept in memory, however large they are


class LogitStore:
    """Logits of windows, all of one shape, in a file. The last ones are also in memory.

    Args:
        file: An empty file that is open for reading and writing.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._slots: dict[tuple[int, int], int] = {}
        self._free: list[int] = []
        self._recent: OrderedDict[tuple[int, int], np.ndarray] = OrderedDict()

    def __contains__(self, key: tuple[int, int]) -> bool:
        return key in self._slots

    def put(self, key: tuple[int, int], logits: np.ndarray) -> None:
        """Stores the logits of a window under a key."""
        slot = self._free.pop() if self._free else len(self._slots)
        self._slots[key] = slot
        self._file.seek(slot * logits.nbytes)
        self._file.write(np.ascontiguousarray(logits).data)
        self._remember(key, logits)

    def get(self, key: tuple[int, int], shape: tuple[int, ...]) -> np.ndarray:
        """Returns the logits of a window, float32."""
        if key not in self._recent:
            logits = np.empty(shape, "float32")
            self._file.seek(self._slots[key] * logits.nbytes)
            self._file.readinto(logits.reshape(-1).view("uint8").data)  # type: ignore[attr-defined]
            self._remember(key, logits)
        self._recent.move_to_end(key)
        return self._recent[key]

    def remove(self, key: tuple[int, int]) -> None:
        """Removes the logits of a window, if they are stored. Their place is used again."""
        if key in self._slots:
            self._free.append(self._slots.pop(key))
            self._recent.pop(key, None)

    def _remember(self, key: tuple[int, int], logits: np.ndarray) -> None:
        self._recent[key] = logits
        kept = max(_FEWEST, _IN_MEMORY // logits.nbytes)
        while len(self._recent) > kept:
            self._recent.popitem(last=False)


class StoredView(View):
    """A view whose windows are computed one by one, when a tile requires them.

    Args:
        image: See `pdanet_tf.inference.windows.View`, like the next four.
        protocol: See `View`.
        num_classes: See `View`.
        compute_logits: See `View`.
        grid: See `View`.
        store: An empty store.
    """

    def __init__(
        self,
        image: WindowedImage,
        protocol: Protocol,
        num_classes: int,
        compute_logits: Callable[..., Tensor],
        grid: CellGrid | None,
        store: LogitStore,
    ) -> None:
        super().__init__(image, protocol, num_classes, compute_logits, grid)
        self.store = store
        self._shape: tuple[int, ...] | None = None  # of the logits of a window; all have one

    @property
    def logits_shape(self) -> tuple[int, ...]:
        """The (rows, columns, num_classes) of the logits of a window."""
        return self._shape or self.window_logits(0, 0).shape

    def release_above(self, row: int, size: tuple[int, int]) -> None:
        """Removes the logits of windows that end above a row of the result.

        Args:
            row: The row. Further tiles do not begin above it.
            size: (height, width) of the whole result.
        """
        for index, span in enumerate(self.spans(0, size)):
            if span.outputs.stop <= row and self._logits.pop(index, None) is not None:
                for number in range(2 * len(self.bands[index])):
                    self.store.remove((index, number))

    def _skip(self, index: int) -> None:
        """Keeps the logits, because another tile of the same rows may require them."""

    def _band_logits(self, index: int) -> Any:
        return self._logits.setdefault(index, _StoredBand(self, index))  # type: ignore[arg-type]

    def window_logits(self, index: int, number: int) -> np.ndarray:
        """Returns the logits of a window, `(rows, columns, num_classes)`.

        Args:
            index: The row of windows.
            number: The window in this row; from the number of windows on, their mirror images.
        """
        key = (index, number)
        if self._shape is not None and key in self.store:
            return self.store.get(key, self._shape)
        band = self.bands[index]
        window = self.image[band[number % len(band)]]
        logits = self.compute((window if number < len(band) else window[:, ::-1])[None])[0]
        self._shape = logits.shape
        self.store.put(key, logits)
        return logits


class _StoredBand:
    """The logits of a row of windows, with the indices of an array of them."""

    def __init__(self, view: StoredView, index: int) -> None:
        self._view = view
        self._index = index

    @property
    def shape(self) -> tuple[int, ...]:
        """(1, rows, columns, num_classes)."""
        return (1, *self._view.logits_shape)

    def __getitem__(self, place: tuple[int, slice, slice]) -> np.ndarray:
        number, rows, columns = place
        return self._view.window_logits(self._index, number)[rows, columns]
