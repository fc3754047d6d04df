from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from db1_model.images import cut_patches
from db1_model.positions import PATCH
from db1_model.precision import fast_float32
from db1_model.text import TextTokenizer
from db1_model.transformer import DB1


@torch.inference_mode()
def continue_text(
    model: DB1,
    tokenizer: TextTokenizer,
    prompt: str,
    *,
    image: NDArray[np.uint8] | None = None,
    max_tokens: int = 64,
    temperature: float = 0.0,
    seed: int = 0,
) -> str:
    """Continue a text token by token, until its end or for ``max_tokens`` tokens.

    Args:
        model: The model; it is put into evaluation mode.
        tokenizer: The text tokenizer that the model was trained with.
        prompt: The beginning.
        image: What the text is about: it follows the prompt; shape (height, width, 3).
        max_tokens: Most tokens to add.
        temperature: 0 takes the likeliest token; above it, tokens are drawn with logits over the temperature.
        seed: Seed of these draws.

    Returns:
        The continuation, without the prompt.

    Raises:
        ValueError: If the image's height or width is no multiple of the patch size.
    """
    device = model.eval().device
    generator = torch.Generator(device).manual_seed(seed)
    patches = None if image is None else cut_patches(torch.from_numpy(image)[None].to(device), model.config)
    places = [] if patches is None else [PATCH] * len(patches.pixels)
    memory = model.make_memory(1)
    ids: list[int] = []
    # token 0 stands before a text that begins with nothing
    step = torch.tensor([(tokenizer.encode(prompt) or [0]) + places], device=device)
    with fast_float32():
        while len(ids) < max_tokens:
            hidden = model.step(step, None, memory, patches=None if ids else patches)[:, -1]
            logits = model.logits(hidden, 0, tokenizer.size).float()
            if temperature == 0:
                token = logits.argmax(-1)
            else:
                token = torch.multinomial(torch.softmax(logits / temperature, -1), 1, generator=generator)[0]
            if int(token) == 0:
                break
            ids.append(int(token))
            step = token[None]
    return tokenizer.decode(ids)
