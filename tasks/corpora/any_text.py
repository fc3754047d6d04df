from __future__ import annotations

from typing import Any

from gymnasium import spaces


class AnyText(spaces.Text):
    """Texts of any characters; those that are drawn are of letters and digits.

    Args:
        longest: Most characters.
    """

    def __init__(self, longest: int) -> None:
        super().__init__(longest, min_length=0)

    def contains(self, x: Any) -> bool:
        """Return whether it is a text that is not too long."""
        return isinstance(x, str) and len(x) <= self.max_length
