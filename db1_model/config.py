from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args, get_type_hints

from db1_model.weights import Weights


@dataclass(frozen=True)
class ModelConfig:
    """Sizes and choices of one model.

    Args:
        num_layers: Blocks of attention and feed-forward.
        width: Width of the hidden states.
        num_heads: Attention heads; divides ``width``.
        context_length: Positions of a training sequence.
        memory_length: Keys before its own that a position sees while acting.
        text_vocab_size: Text tokens; ids ``0..text_vocab_size - 1``.
        num_discrete: Values of a discrete number; their ids overlap the first text tokens.
        num_bins: Bins of a continuous number; ids follow the text tokens.
        ffn_width: Output width of the first feed-forward matrix; GeGLU halves it.
        norm: Where the layer norms stand: after the residual (``post``), before the branch (``pre``), or ``deep``
            for DeepNorm's scaled residual.
        position: How attention knows distances: ``relative`` as DB1 does, or ``rope``, which is faster.
        untie_relative_bias: Whether every layer has relative-position biases of its own.
        encoding: ``tokens`` gives each number of an observation its own position, as DB1 does; ``embedded`` gives up
            to ``numbers_per_position`` numbers one position.
        numbers_per_position: Numbers that share a position in the ``embedded`` encoding.
        number_width: Width of one number's embedding before a position's numbers are joined.
        pixels: ``gato`` scales pixels to [-1, 1] / 4, ``standardised`` standardises each patch as DB1 does.
        bin_edge: The value that a bin decodes to: its ``centre`` or, as DB1 does, its ``lower`` edge.
        memory: What the positions before an episode's first are while acting: ``masked``, or ``zeros`` as in DB1.
        dropout: Probability of dropping an activation while training.
        patch_size: Side of an image patch in pixels.
        patch_channels: Channels inside the patch embedding.
        position_vocab: Intervals of a patch's row and column position.
        local_positions: Entries of the table of positions within a step.
        bin_embeddings: How the embeddings of bins and of places in an image begin: ``smooth`` in their value, so that
            a model learns continuous actions and where things are in fewer steps, or ``random`` as in DB1.

    Source:
        Wen et al., "On realization of intelligent decision-making in the real world: a foundation decision model
        perspective", 2022 (DB1); Reed et al., "A generalist agent", 2022 (Gato).
    """

    num_layers: int
    width: int
    num_heads: int
    context_length: int
    memory_length: int
    text_vocab_size: int
    num_discrete: int = 1024
    num_bins: int = 1024
    ffn_width: int = 0
    norm: Literal["post", "pre", "deep"] = "post"
    position: Literal["relative", "rope"] = "relative"
    untie_relative_bias: bool = False
    encoding: Literal["tokens", "embedded"] = "tokens"
    numbers_per_position: int = 64
    number_width: int = 16
    pixels: Literal["gato", "standardised"] = "gato"
    bin_edge: Literal["centre", "lower"] = "centre"
    memory: Literal["masked", "zeros"] = "masked"
    dropout: float = 0.1
    patch_size: int = 16
    patch_channels: int = 64
    position_vocab: int = 128
    local_positions: int = 513
    bin_embeddings: Literal["smooth", "random"] = "smooth"

    def __post_init__(self) -> None:
        if self.width % self.num_heads:
            raise ValueError(f"width {self.width} is not divisible by {self.num_heads} heads; choose a divisor")
        if self.position == "rope" and self.width // self.num_heads % 2:
            raise ValueError(f"heads of width {self.width // self.num_heads}; position='rope' needs an even width")
        if self.ffn_width == 0:
            object.__setattr__(self, "ffn_width", 4 * self.width)

    @property
    def separator(self) -> int:
        """Token between a step's observation and its action; the last id."""
        return self.text_vocab_size + self.num_bins

    @property
    def vocab_size(self) -> int:
        """Text tokens, bins and the separator."""
        return self.text_vocab_size + self.num_bins + 1

    def to_json(self) -> dict[str, Any]:
        """Return the configuration as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ModelConfig:
        """Read what ``to_json`` returned.

        Raises:
            ValueError: If a key is not a field of the configuration.
        """
        return cls(**_known(cls, value))


@dataclass(frozen=True)
class TrainingConfig:
    """One training run: with the shards' digest it determines the checkpoint.

    Args:
        preset: Name of the model's preset.
        steps: Optimiser steps.
        batch_windows: Sequences of a step, over all devices and accumulated micro-batches.
        learning_rate: Peak of the schedule.
        warmup_steps: Steps of linear warm-up; a cosine follows, down to ``final_learning_rate``.
        final_learning_rate: Learning rate of the last step.
        weight_decay: AdamW's decoupled weight decay; norms, biases and embeddings have none.
        clip_norm: Largest gradient norm.
        prompt_share: Share of the sequences that begin with a prompt of their task.
        pack: Whether a sequence is filled with further episodes of its task, instead of padding as DB1 does.
        seed: Seed of the weights, the order of the data and the dropout.
        checkpoint_every: Steps between two checkpoints.
        keep: Checkpoints to keep.
        accelerator: ``cpu``, ``gpu`` or ``auto``.
        devices: Processes on a machine.
        num_nodes: Machines.
        threads: Threads a process computes with on a CPU.
        precision: Lightning's name of the number format; ``auto`` is ``bf16-mixed`` where ``accelerator`` is ``gpu``,
            and ``32-true`` elsewhere.
        strategy: What the processes have: all of the model each (``ddp``), or a share of it (``fsdp``).
        micro_batch: Sequences that a process computes at once, so that they fit its memory; the gradients of its part
            of a step are added up. 0 for all at once.
        attention: What computes relative attention: ``blocks``, ``sdpa``, ``flex``, or what suits the device.
        checkpoint_activations: Whether blocks are computed again for the gradient, to save memory.
        compile_blocks: Whether ``torch.compile`` compiles the blocks; worth it on a GPU.
        num_workers: Processes beside each training process that build its batches; 0 for none.
        weights: How much of the training each task gets: fields of ``Weights``, or shares of tasks by id. In JSON also
            the name of a kind such as ``gato``, or the path of a JSON file, which is read at once.
        warm_start: Where the weights begin: drawn from the seed when empty, ``champion``, which the asset replaces by
            the digest of the checkpoint that serves, or such a digest.

    Raises:
        ValueError: If the weights or another choice are none of these.
    """

    preset: str = "db1-nano"
    steps: int = 1000
    batch_windows: int = 8
    learning_rate: float = 1e-3
    warmup_steps: int = 50
    final_learning_rate: float = 1e-4
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    prompt_share: float = 0.25
    pack: bool = True
    seed: int = 0
    checkpoint_every: int = 500
    keep: int = 2
    accelerator: str = "cpu"
    devices: int = 1
    num_nodes: int = 1
    threads: int = 1
    precision: Literal["auto", "32-true", "bf16-mixed"] = "auto"
    strategy: Literal["ddp", "fsdp"] = "ddp"
    micro_batch: int = 0
    attention: Literal["auto", "blocks", "sdpa", "flex"] = "auto"
    checkpoint_activations: bool = False
    compile_blocks: bool = False
    num_workers: int = 0
    weights: Mapping[str, Any] | None = None
    warm_start: str = ""

    def __post_init__(self) -> None:
        Weights.read(self.weights)
        for name in ("precision", "strategy", "attention"):
            expected = get_args(get_type_hints(TrainingConfig)[name])
            if getattr(self, name) not in expected:
                raise ValueError(f"{name} is {getattr(self, name)!r}; expected one of {', '.join(expected)}")
        if self.micro_batch < 0:
            raise ValueError(f"micro_batch is {self.micro_batch}; expected a number of sequences, or 0 for all at once")

    @property
    def number_format(self) -> Literal["32-true", "bf16-mixed"]:
        """The precision that is trained with."""
        if self.precision != "auto":
            return self.precision
        return "bf16-mixed" if self.accelerator == "gpu" else "32-true"

    def to_json(self) -> dict[str, Any]:
        """Return the configuration as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> TrainingConfig:
        """Read what ``to_json`` returned.

        Raises:
            ValueError: If a key is not a field of the configuration, or a value makes no sense.
        """
        known = _known(cls, value)
        if isinstance(known.get("weights"), str):
            known["weights"] = Weights.read(known["weights"]).to_json()
        return cls(**known)


def _known(cls: type, value: Mapping[str, Any]) -> dict[str, Any]:
    names = {field.name for field in fields(cls)}
    if unknown := sorted(set(value) - names):
        raise ValueError(f"{cls.__name__} has no field {unknown[0]!r}; expected some of {', '.join(sorted(names))}")
    return dict(value)
