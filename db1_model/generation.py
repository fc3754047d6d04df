from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from db1_model.images import cut_patches
from db1_model.positions import PATCH
from db1_model.precision import fast_float32
from db1_model.text import TextStream, TextTokenizer
from db1_model.transformer import DB1


def stream_text(
    model: DB1,
    tokenizer: TextTokenizer,
    prompt: str,
    *,
    image: NDArray[np.uint8] | None = None,
    max_tokens: int = 64,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int = 0,
) -> Iterator[str]:
    """Continue a text token by token, until its end or for ``max_tokens`` tokens.

    A model whose memory hides what lies before an episode goes on from the last half of a context when one is full, as
    it was trained; DB1's own memory slides.

    Args:
        model: The model; it is put into evaluation mode.
        tokenizer: The text tokenizer that the model was trained with.
        prompt: The beginning.
        image: What the text is about: it follows the prompt; shape (height, width, 3).
        max_tokens: Most tokens to add.
        temperature: 0 takes the likeliest token; above it, tokens are drawn with logits over the temperature.
        top_p: Tokens are drawn from the likeliest ones that together have this probability.
        seed: Seed of these draws.

    Yields:
        The continuation in pieces of whole characters, without the prompt.

    Raises:
        ValueError: If the image's height or width is no multiple of the patch size.

    Source:
        Holtzman et al., "The curious case of neural text degeneration", 2020 (``top_p``).
    """
    device = model.eval().device
    generator = torch.Generator(device).manual_seed(seed)
    patches = None if image is None else cut_patches(torch.from_numpy(image)[None].to(device), model.config)
    # token 0 stands before a text that begins with nothing
    known = (tokenizer.encode(prompt) or [0]) + ([] if patches is None else [PATCH] * len(patches.pixels))
    length, begins_anew = model.config.context_length, model.config.memory == "masked" and patches is None
    held = known[-length // 2 :] if begins_anew and len(known) > length else known  # what the memory has seen or will
    memory, step, stream = model.make_memory(1), held, TextStream(tokenizer)
    for number in range(max_tokens):
        with torch.inference_mode(), fast_float32():
            shown = patches if number == 0 else None
            hidden = model.step(torch.tensor([step], device=device), None, memory, patches=shown)[:, -1]
            token = _draw(model.logits(hidden, 0, tokenizer.size).float()[0], temperature, top_p, generator)
        if token == 0:
            break
        step = [token]
        if begins_anew:
            held = [*held, token]
            if len(held) > length:
                step = held = held[-(length // 2) :]
                memory = model.make_memory(1)
        if piece := stream.push(token):
            yield piece
    if rest := stream.finish():
        yield rest


def _draw(logits: Tensor, temperature: float, top_p: float, generator: torch.Generator) -> int:
    if temperature == 0:
        return int(logits.argmax())
    p, order = torch.softmax(logits / temperature, -1).sort(descending=True)
    p = p.masked_fill(p.cumsum(0) - p > top_p, 0.0)  # the likeliest always stays
    return int(order[torch.multinomial(p, 1, generator=generator)])
