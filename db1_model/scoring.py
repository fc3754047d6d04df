from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from db1_model.precision import fast_float32
from db1_model.text import TextTokenizer
from db1_model.transformer import DB1

_WINDOWS = 32  # that are computed at once


@torch.inference_mode()
def measure_bits(model: DB1, tokenizer: TextTokenizer, text: str) -> float:
    """Return the bits that a model needs to say a text, its end included.

    Every token is predicted from at least half a context of what comes before it, or from all there is: windows of a
    context's length that overlap by half, as the model was trained, with token 0 before the first.

    Args:
        model: The model; it is put into evaluation mode.
        tokenizer: The text tokenizer that it was trained with.
        text: The text.

    Source:
        Windows and bits per byte as in Radford et al., "Language models are unsupervised multitask learners", 2019.
    """
    device, length = model.eval().device, model.config.context_length
    ids = torch.tensor([0, *tokenizer.encode(text), 0], device=device)
    num_targets, stride = len(ids) - 1, max(1, length // 2)
    firsts = range(0, max(1, num_targets - length + stride), stride)
    bits = 0.0
    with fast_float32():
        for begin in range(0, len(firsts), _WINDOWS):
            some = firsts[begin : begin + _WINDOWS]
            windows = torch.zeros(len(some), length + 1, dtype=torch.int64, device=device)
            counted = torch.zeros(len(some), length, dtype=torch.bool, device=device)
            for row, first in enumerate(some):
                part = ids[first : first + length + 1]
                windows[row, : len(part)] = part
                counted[row, 0 if first == 0 else length - stride : len(part) - 1] = True
            hidden = model(windows[:, :-1], None)
            logits = model.logits(hidden[counted], 0, tokenizer.size).float()
            bits += F.cross_entropy(logits, windows[:, 1:][counted], reduction="sum").item() / math.log(2)
    return bits
