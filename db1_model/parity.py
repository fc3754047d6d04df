from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from db1_model.config import ModelConfig
from db1_model.images import Patches, cut_patches
from db1_model.positions import PATCH
from db1_model.published import find_place, import_db1_weights, read_db1_config
from db1_model.transformer import DB1

LOGITS_TOLERANCE = 1e-4
"""Largest absolute difference of a logit in float32."""
LOSS_TOLERANCE = 1e-5
"""Largest absolute difference of a loss, in nats."""
GRADIENT_TOLERANCE = 1e-4
"""Largest difference of a gradient's entries over the largest absolute entry that is expected."""

_CONFIG, _WEIGHTS, _CASES = "config.json", "weights.npz", "cases.npz"
_LOSS, _GRADIENT = "rl_loss", "rl_grad."


class Difference(NamedTuple):
    """How far our model is from the published one in one case.

    Args:
        case: What is compared.
        largest: Largest absolute difference; not finite when a value is not.
        tolerance: How large it may be.
        relative: Whether both are shares of the largest absolute value that is expected.
    """

    case: str
    largest: float
    tolerance: float
    relative: bool = False

    @property
    def holds(self) -> bool:
        """Whether the difference is finite and within its tolerance."""
        return self.largest <= self.tolerance


class Parity(NamedTuple):
    """A comparison with what the published DB1 computes.

    Args:
        config: Our model's.
        differences: One a case.
        absent: Names of the expected results that are not there.
        unknown: Names of arrays that no known case has; they are not compared.
    """

    config: ModelConfig
    differences: tuple[Difference, ...]
    absent: tuple[str, ...]
    unknown: tuple[str, ...]

    @property
    def failed(self) -> tuple[str, ...]:
        """The cases that are not within their tolerance."""
        return tuple(difference.case for difference in self.differences if not difference.holds)


class Cases(dict[str, Tensor]):
    """The arrays of the cases by name; one that is missing is an error that says what there is."""

    def __missing__(self, name: str) -> Tensor:
        raise ValueError(f"{_CASES} has no {name!r}; found {', '.join(self)}")


def check_parity(folder: str | Path) -> Parity:
    """Compare our model with what the published DB1 computed with the same weights, in float32 and without dropout.

    Args:
        folder: Holds ``config.json`` (DB1's sizes and options), ``weights.npz`` (its parameters under its names) and
            ``cases.npz``: results whose names end in ``_logits``, ``rl_loss`` and the gradients ``rl_grad.*``, each
            with its inputs. Cases may be absent, but not all of them.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a file is broken, the configuration is none of DB1's, the weights do not fit it, an input of a
            case is missing, a result has another shape than expected, or there is no case.
    """
    folder = Path(folder)
    config, weights, arrays = (_existing(folder / name) for name in (_CONFIG, _WEIGHTS, _CASES))
    model = import_db1_weights(_read_arrays(weights), read_db1_config(config)).eval()
    cases = Cases((name, torch.from_numpy(array)) for name, array in _read_arrays(arrays).items())
    differences = (*_compare_logits(model, cases), *_compare_loss(model, cases))
    known = [*(f"{kind}_logits" for kind in _HIDDEN), _LOSS, _GRADIENT]
    present = {_GRADIENT if name.startswith(_GRADIENT) else name for name in cases}
    absent = tuple(name for name in known if name not in present)
    if not differences:
        raise ValueError(f"{arrays} has no case; expected some of {', '.join(known)}")
    unknown = tuple(name for name in cases if not name.startswith(tuple(f"{kind}_" for kind in _HIDDEN)))
    return Parity(model.config, differences, absent, unknown)


def _compare_logits(model: DB1, cases: Cases) -> Iterator[Difference]:
    for kind, compute_hidden in _HIDDEN.items():
        name = f"{kind}_logits"
        if name in cases:
            with torch.no_grad():
                logits = model.logits(compute_hidden(model, cases, kind))
            yield _measure(name, logits, cases[name], LOGITS_TOLERANCE)


def _compare_loss(model: DB1, cases: Cases) -> Iterator[Difference]:
    gradients = [name for name in cases if name.startswith(_GRADIENT)]
    if _LOSS not in cases and not gradients:
        return
    tokens, positions, patches = _read_sequence(model, cases, "rl")
    batch = {"tokens": tokens, "loss_mask": cases["rl_loss_mask"], "labels": cases["rl_labels"].long().clamp(min=0)}
    batch["positions"] = torch.full_like(tokens, -1) if positions is None else positions
    if patches is not None:
        batch |= {"patches": patches.pixels, "patch_rows": patches.rows, "patch_columns": patches.columns}
    loss = model.masked_loss(batch)
    if _LOSS in cases:
        yield _measure(_LOSS, loss.detach().reshape(cases[_LOSS].shape), cases[_LOSS], LOSS_TOLERANCE)
    loss.backward()
    for name in gradients:
        found = _gradient_of(model, name.removeprefix(_GRADIENT))
        yield _measure(name, found, cases[name], GRADIENT_TOLERANCE, relative=True)


def _hidden_of_sequence(model: DB1, cases: Cases, kind: str) -> Tensor:
    tokens, positions, patches = _read_sequence(model, cases, kind)
    return model(tokens, positions, patches=patches)


def _hidden_of_caption(model: DB1, cases: Cases, kind: str) -> Tensor:
    """Hidden states of a prompt, the patches of an image and a text."""
    prompt, text = cases[f"{kind}_prompt"].long(), cases[f"{kind}_text"].long()
    patches = cut_patches(cases[f"{kind}_images"].float().flatten(0, -4), model.config)
    image = torch.full((len(prompt), len(patches.pixels) // len(prompt)), PATCH)
    return model(torch.cat([prompt, image, text], dim=1), patches=patches)


def _hidden_of_stream(model: DB1, cases: Cases, kind: str) -> Tensor:
    """Hidden states of segments that are fed one after another to a memory of zeros."""
    tokens, positions, _ = _read_sequence(model, cases, kind)
    memory, lengths = model.make_memory(len(tokens)), cases[f"{kind}_lengths"].tolist()
    parts = [None] * len(lengths) if positions is None else positions.split(lengths, 1)
    segments = zip(tokens.split(lengths, 1), parts, strict=True)
    return torch.cat([model.step(segment, part, memory) for segment, part in segments], dim=1)


_HIDDEN: dict[str, Callable[[DB1, Cases, str], Tensor]] = {
    "rl": _hidden_of_sequence,
    "pixels": _hidden_of_sequence,
    "text": _hidden_of_sequence,
    "caption": _hidden_of_caption,
    "stream": _hidden_of_stream,
}


def _read_sequence(model: DB1, cases: Cases, kind: str) -> tuple[Tensor, Tensor | None, Patches | None]:
    """Tokens and positions of shape (batch, length), and as many patches of each row's images as it has places."""
    tokens = cases[f"{kind}_tokens"].long()
    positions = cases[f"{kind}_positions"].long() if f"{kind}_positions" in cases else None
    if f"{kind}_images" not in cases:
        return tokens, positions, None
    patches = cut_patches(cases[f"{kind}_images"].float().flatten(0, -4), model.config)
    places = int((tokens[0] == PATCH).sum())
    seen = (part.unflatten(0, (len(tokens), -1))[:, :places].flatten(0, 1) for part in patches)
    return tokens, positions, Patches(*seen)


def _gradient_of(model: DB1, name: str) -> Tensor:
    """The gradient of the parameter that DB1 calls so; zeros where the loss does not depend on it."""
    place = find_place(name, model.config)
    try:
        parameter = model.get_parameter(place.parameter)
    except AttributeError:
        raise ValueError(f"{_CASES} has a gradient of {name!r}, which the model of {_CONFIG} lacks") from None
    gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
    return gradient if place.row is None else gradient[place.row]


def _measure(case: str, found: Tensor, expected: Tensor, tolerance: float, *, relative: bool = False) -> Difference:
    if found.shape != expected.shape:
        raise ValueError(f"{case!r} has shape {tuple(expected.shape)} in {_CASES}; our model's is {tuple(found.shape)}")
    largest = float((found - expected).abs().max())
    scale = float(expected.abs().max()) if relative else 1.0
    return Difference(case, largest / scale if scale else largest, tolerance, relative)


def _read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with np.load(path) as arrays:
            return dict(arrays)
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} cannot be read ({error}); expected arrays as numpy.savez writes them") from error


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise FileNotFoundError(f"there is no {path}; expected {_CONFIG}, {_WEIGHTS} and {_CASES} in one folder")
    return path
