from __future__ import annotations

import os
import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Locations:
    """Where each kind of thing lies, all below one root.

    Args:
        root: Folder that holds everything that the pipeline makes: a path, or a URL of an object store such as
            ``s3://bucket/folder``.

    Raises:
        ValueError: If the root is neither.
    """

    root: str = "data"

    def __post_init__(self) -> None:
        if re.match(r"\w+:/(?!/\w)|file:", self.root):
            raise ValueError(
                f"the data root is {self.root!r}, expected a path or a URL of an object store; set it with:\n"
                "  export DB1_DATA=data                 # a path\n"
                "  export DB1_DATA=s3://bucket/folder   # a URL"
            )
        object.__setattr__(self, "root", self.root.rstrip("/") or "/")

    @classmethod
    def from_environment(cls) -> Locations:
        """Take the root from the environment variable ``DB1_DATA``; ``data`` when it is unset or empty."""
        return cls(os.environ.get("DB1_DATA") or "data")

    @property
    def specialists(self) -> str:
        """Policies that were trained to be experts."""
        return f"{self.root}/specialists"

    @property
    def trajectories(self) -> str:
        """Expert episodes, in Zarr."""
        return f"{self.root}/trajectories"

    @property
    def corpora(self) -> str:
        """Users' own texts, pictures and talks that are kept from training, in Zarr."""
        return f"{self.root}/corpora"

    @property
    def catalogue(self) -> str:
        """Every task and its expert's scores."""
        return f"{self.root}/catalogue"

    @property
    def tokens(self) -> str:
        """Tokenized episodes, in Zarr."""
        return f"{self.root}/tokens"

    @property
    def tokenizer(self) -> str:
        """The text tokenizer."""
        return f"{self.root}/tokenizer"

    @property
    def shards(self) -> str:
        """Tokenized episodes packed into WebDataset tars."""
        return f"{self.root}/shards"

    @property
    def checkpoints(self) -> str:
        """Trained models."""
        return f"{self.root}/checkpoints"

    @property
    def evaluation(self) -> str:
        """Returns of the trained model in its tasks."""
        return f"{self.root}/evaluation"

    @property
    def champions(self) -> str:
        """The models that serve, those that served before, and why."""
        return f"{self.root}/champions"

    @property
    def report(self) -> str:
        """Tables, curves and maps for people."""
        return f"{self.root}/report"
