"""What is wrong with an installation, and how to mend it."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """Something that is wrong, or that costs time or memory.

    Attributes:
        severity: "broken" if the package cannot be used; "warning" if a part of it cannot, or
            something will probably go wrong.
        text: What is wrong, a sentence without its full stop.
        remedy: What to do about it, likewise.
    """

    severity: Literal["broken", "warning"]
    text: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.severity}: {self.text}. {self.remedy}."
