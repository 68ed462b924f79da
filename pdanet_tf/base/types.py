"""Names for types that Keras itself does not name."""

from typing import Any, TypeAlias

# A tensor of any backend, eager or symbolic. Keras has no common class for them, so type checkers
# see `Any`; the name is for readers.
Tensor: TypeAlias = Any
# The shape of a tensor; None for a size that is known only at run time.
Shape: TypeAlias = tuple[int | None, ...]
