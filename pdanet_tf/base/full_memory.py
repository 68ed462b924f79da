"""Recognises a full memory in the errors of Python and of the backends."""

import re

# The beginnings of what TensorFlow, JAX and PyTorch say if an allocation fails.
_FULL = re.compile(r"OOM when allocating[^\n]*?\]|RESOURCE_EXHAUSTED|out of memory", re.IGNORECASE)


def find_full_memory(error: Exception) -> str | None:
    """Returns what an error says of a full memory, in a few words; None if it says otherwise."""
    found = _FULL.search(str(error))
    if found is None and not isinstance(error, MemoryError):
        return None
    return found[0] if found else str(error).partition("\n")[0] or "Python has no more"
