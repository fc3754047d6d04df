"""How much faster do environments get their actions when keys and values of the past are kept?

Compares acting as DB1's published evaluation does it with ``DB1Policy``, in 8 environments at once, with a memory of
1,024 positions that is full from the beginning, on one thread; a step is 20 observed numbers, the separator and 4
numbers of the action, a token each. Raises unless all actions of both are equal:

    OMP_NUM_THREADS=1 python -m benchmarks.acting
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from db1_model.attention import RelativeAttention, sinusoids_of
from db1_model.block import Block
from db1_model.config import ModelConfig
from db1_model.layout import StepLayout
from db1_model.policy import DB1Policy
from db1_model.precision import fast_float32
from db1_model.sequence import decode_action_tokens, encode_observations
from db1_model.text import TextTokenizer
from db1_model.transformer import DB1
from db1_model.vocabulary import Vocabulary
from storage.episode import Leaf, Schema

MODELS = {256: (8, 4), 1024: (4, 8)}
"""Layers and heads by width."""
SCHEMA = Schema({"state": Leaf("continuous", (20,), -np.inf, np.inf)}, Leaf("continuous", (4,), -1, 1))
MEMORY_LENGTH = 1024

Observations = Sequence[dict[str, Any]]


class UncachedLoop:
    """Acts as DB1's published evaluation does, with its operations in plain torch, though for a batch.

    Each layer keeps the last ``memory_length`` hidden states that it was given, zeros at first. Every pass projects
    their keys and values again, and the keys of all distances, and computes all scores at once. The observation and its
    separator are one pass, then every token of the action is one, also the last. The head is the whole vocabulary's.

    Source:
        Wen et al., "On realization of intelligent decision-making in the real world: a foundation decision model
        perspective", 2022; Dai et al., "Transformer-XL: attentive language models beyond a fixed-length context", 2019.
    """

    def __init__(self, model: DB1, layout: StepLayout, vocabulary: Vocabulary, text: TextTokenizer, num: int) -> None:
        self.model, self.layout, self.vocabulary, self.text = model.eval(), layout, vocabulary, text
        config = model.config
        self.memories = [torch.zeros(num, config.memory_length, config.width) for _ in range(config.num_layers)]

    @torch.inference_mode()
    def act(self, observations: Observations) -> NDArray[np.float32]:
        """Return an action for each environment, shape (environments, 4)."""
        batch = {key: np.array([observation[key] for observation in observations]) for key in observations[0]}
        rows, _ = encode_observations(batch, self.layout, self.text, self.vocabulary)
        tokens = torch.from_numpy(rows.astype(np.int64))
        positions = torch.arange(1, tokens.shape[1] + 1).expand(tokens.shape)
        illegal = torch.ones(self.vocabulary.size, dtype=torch.bool)
        illegal[self.vocabulary.bin_start : self.vocabulary.separator] = False
        chosen = []
        with fast_float32():
            logits = self._pass(tokens, positions)
            for _ in range(self.layout.action_tokens):
                chosen.append(logits.masked_fill(illegal, -torch.inf).argmax(-1))
                logits = self._pass(chosen[-1][:, None], torch.zeros(len(tokens), 1, dtype=torch.int64))
        return decode_action_tokens(torch.stack(chosen, 1).numpy(), self.layout, self.text, self.vocabulary)

    def _pass(self, tokens: Tensor, positions: Tensor) -> Tensor:
        """Return the logits after the last of new tokens of shape (environments, length)."""
        x = self.model.embedding(tokens, positions, None, None)
        content_bias, position_bias = self.model.content_bias[0], self.model.position_bias[0]
        for layer, block in enumerate(self.model.blocks):
            if not isinstance(block, Block) or not isinstance(block.attention, RelativeAttention):
                raise TypeError(f"layer {layer} is {block}; expected a block with relative attention")
            seen = torch.cat([self.memories[layer], x], dim=1)
            self.memories[layer] = seen[:, -self.model.config.memory_length :]
            x = block.attention_norm(x + self._attend(block.attention, seen, x, content_bias, position_bias))
            value, gate = block.feed_forward.up(x).chunk(2, dim=-1)
            x = block.feed_forward_norm(x + block.feed_forward.down(value * F.gelu(gate)))
        return self.model.logits(x[:, -1])

    def _attend(
        self, attention: RelativeAttention, seen: Tensor, x: Tensor, content_bias: Tensor, position_bias: Tensor
    ) -> Tensor:
        """Return the attention of the last positions, shape (environments, length, width)."""
        config, width = self.model.config, x.shape[-1]
        num_keys, length = seen.shape[1], x.shape[1]
        distances = torch.arange(num_keys - 1, -1, -1)
        sinusoids = sinusoids_of(distances.clamp(max=config.context_length), width)
        heads = (config.num_heads, width // config.num_heads)
        weight = attention.query_key_value.weight
        q = F.linear(x, weight[:width]).unflatten(-1, heads)
        k, v = F.linear(seen, weight[width:]).unflatten(-1, (2, *heads)).unbind(2)
        r = attention.relative(sinusoids).unflatten(-1, heads)
        by_content = torch.einsum("bihd,bjhd->bhij", q + content_bias, k)
        by_distance = torch.einsum("bihd,jhd->bhij", q + position_bias, r)
        padded = F.pad(by_distance, (1, 0))  # shift query i's distances by i to the left, as Transformer-XL does
        shifted = padded.view(*padded.shape[:2], num_keys + 1, length)[:, :, 1:].view_as(by_distance)
        ahead = torch.arange(num_keys - length, num_keys)[:, None] - torch.arange(num_keys)
        hidden = (ahead < 0) | (ahead >= config.memory_length)
        scores = ((by_content + shifted) * heads[1] ** -0.5).masked_fill(hidden, -torch.inf)
        return attention.output(torch.einsum("bhij,bjhd->bihd", scores.softmax(-1), v).flatten(2))


def compare(width: int, num_layers: int, num_heads: int, *, num: int, steps: int, rounds: int) -> dict[str, float]:
    """Play both in turns, and return the medians of their milliseconds a step.

    Raises:
        RuntimeError: If an action differs.
    """
    text = TextTokenizer.train(["a step"], 300)
    config = ModelConfig(
        num_layers=num_layers,
        width=width,
        num_heads=num_heads,
        context_length=MEMORY_LENGTH,
        memory_length=MEMORY_LENGTH,
        text_vocab_size=32000,
        memory="zeros",
        bin_embeddings="random",
    )
    vocabulary = Vocabulary.of(config, text.digest)
    layout = StepLayout.from_schema(SCHEMA, vocabulary)
    torch.manual_seed(0)
    model = DB1(config)
    loop = UncachedLoop(model, layout, vocabulary, text, num)
    policy = DB1Policy(model, [layout] * num, vocabulary, text)
    generator = np.random.default_rng(0)
    times_ms: dict[str, list[float]] = {"uncached": [], "DB1Policy": []}
    for begin in range(0, steps, -(-steps // rounds)):
        played = range(begin, min(begin + -(-steps // rounds), steps))
        seen = [[{"state": state} for state in generator.normal(size=(num, 20)).astype(np.float32)] for _ in played]
        expected, loop_ms = _time(loop.act, seen)
        found, policy_ms = _time(lambda one: policy.act(range(num), one, [None] * num), seen)
        for step, actions, wanted in zip(played, found, expected, strict=True):
            if not np.array_equal(actions, wanted):
                raise RuntimeError(f"width {width}, step {step}: the actions {actions}; expected {wanted}")
        times_ms["uncached"].append(loop_ms)
        times_ms["DB1Policy"].append(policy_ms)
    return {name: float(np.median(values)) for name, values in times_ms.items()}


def _time(act: Callable[[Observations], Any], seen: Sequence[Observations]) -> tuple[list[Any], float]:
    begun_s = time.perf_counter()
    actions = [act(observations) for observations in seen]
    return actions, (time.perf_counter() - begun_s) * 1000 / len(seen)


def main() -> None:
    """Compare at each width, and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--widths", type=int, nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--environments", type=int, default=8)
    parser.add_argument("--steps", type=int, default=50, help="steps of every environment")
    parser.add_argument("--rounds", type=int, default=10, help="turns that each takes; a median is over these")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    names = (
        "width",
        "layers",
        "heads",
        "uncached, ms a step",
        "DB1Policy, ms a step",
        "times as fast",
        "equal actions",
    )
    print("".join(f"{name:>22}" if " " in name else f"{name:>8}" for name in names))
    for width in arguments.widths:
        layers, heads = MODELS[width]
        num, steps = arguments.environments, arguments.steps
        ms = compare(width, layers, heads, num=num, steps=steps, rounds=arguments.rounds)
        uncached, policy = ms["uncached"], ms["DB1Policy"]
        print(
            f"{width:8}{layers:8}{heads:8}{uncached:22.1f}{policy:22.1f}{uncached / policy:22.1f}"
            f"{f'{num * steps} of {num * steps}':>22}",
            flush=True,
        )


if __name__ == "__main__":
    main()
