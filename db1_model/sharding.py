"""FSDP: parameters, gradients and AdamW's moments are shared out over the processes, and written down whole.

A training state is the same whatever the strategy: full tensors, moments by the parameters' order in the optimiser. So
a run goes on with DDP or with another number of processes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.strategies import ModelParallelStrategy, Strategy
from torch import Tensor
from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer

from db1_model.checkpoint import load_state
from db1_model.transformer import DB1


class ShardedStrategy(ModelParallelStrategy):
    """Lightning's strategy for FSDP2, with states that are whole.

    Lightning would read a state of DDP as if its moments were numbered by the order of the module's parameters, and
    fail: they are numbered by the order of the optimiser's groups.

    Args:
        world_size: Number of processes.
        timeout_s: How long a process waits for the others before it fails.
    """

    def __init__(self, world_size: int, *, timeout_s: float) -> None:
        super().__init__(
            data_parallel_size=world_size,
            tensor_parallel_size=1,
            save_distributed_checkpoint=False,
            timeout=timedelta(seconds=timeout_s),
        )

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        """Return an optimiser's whole state on rank 0; every rank must call it."""
        state = optimizer.state_dict()
        whole = {
            number: {name: self._gather(value) for name, value in moments.items()}
            for number, moments in state["state"].items()
        }
        return {**state, "state": whole} if self.global_rank == 0 else {}

    def load_checkpoint(self, checkpoint_path: str | Path, weights_only: bool | None = None) -> dict[str, Any]:
        """Read a training state; every rank reads the file, and keeps its share."""
        state = torch.load(checkpoint_path, map_location="cpu", mmap=True, weights_only=weights_only)
        set_model_state_dict(self._module(), state["state_dict"], options=StateDictOptions(full_state_dict=True))
        for optimizer, whole in zip(self.optimizers, state["optimizer_states"], strict=True):
            parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
            shares = {
                number: {name: _share(value, parameters[number]) for name, value in moments.items()}
                for number, moments in whole["state"].items()
            }
            optimizer.load_state_dict({**whole, "state": shares})
        return state

    def _gather(self, value: Any) -> Any:
        whole = value.full_tensor() if isinstance(value, DTensor) else value
        if self.global_rank != 0:
            return None
        return whole.cpu() if isinstance(whole, Tensor) else whole

    def _module(self) -> torch.nn.Module:
        if self.model is None:
            raise RuntimeError("the strategy has no model; hand it to Trainer.fit")
        return self.model


def _share(value: Any, parameter: Tensor) -> Any:
    if not isinstance(parameter, DTensor) or not isinstance(value, Tensor) or value.shape != parameter.shape:
        return value
    mesh = parameter.device_mesh
    return distribute_tensor(value.to(parameter.device), mesh, parameter.placements, src_data_rank=None)


def shard(model: DB1, mesh: DeviceMesh) -> None:
    """Share a model's parameters out: each block is gathered while it is computed, the rest for the whole step."""
    for block in model.blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)


def touch_missing_inputs(model: DB1, batch: Mapping[str, Tensor], reduce: Callable[..., Tensor]) -> Tensor:
    """Return zero, with gradients for inputs that this rank's batch lacks and another's has.

    FSDP adds up the gradients that a rank has, and needs the same ones on all; every rank must call it.

    Args:
        model: The model.
        batch: This rank's.
        reduce: Lightning's reduction over the ranks.
    """
    of_inputs = {"patches": model.embedding.patches, "numbers": model.embedding.numbers}
    here = torch.tensor([float(name in batch) for name in of_inputs], device=batch["tokens"].device)
    ranks = dict(zip(of_inputs, reduce(here, reduce_op="sum").tolist(), strict=True))
    lacking = [module for name, module in of_inputs.items() if module and ranks[name] and name not in batch]
    sums = [parameter.sum() for module in lacking for parameter in module.parameters() if parameter.requires_grad]
    return 0 * torch.stack(sums).sum() if sums else here.new_zeros(())


def gather_model(model: DB1, strategy: Strategy) -> DB1:
    """Return the whole of a model on rank 0, also when it is shared out; every rank must call it."""
    if not isinstance(strategy, ShardedStrategy):
        return model
    state = strategy.lightning_module_state_dict()
    if strategy.global_rank != 0:
        return model
    with torch.device("meta"):
        whole = DB1(model.config)
    load_state(whole, {name.removeprefix("model."): value for name, value in state.items()}, "the gathered weights")
    return whole
