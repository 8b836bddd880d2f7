"""The one place where OpenRLHF and DeepSpeed are imported, with the adaptations that a CPU needs.

1. `openrlhf.models` imports five names of flash-attn at import time, although it only calls them
   when samples are packed, which this learner does not do. flash-attn cannot be built without CUDA.
   Where it is absent, a stand-in that raises when called takes its place *during the import only*,
   so that later "is flash-attn there?" questions still get the true answer.
2. `DeepspeedStrategy.setup_distributed` builds its device mesh on "cuda" by name. `Strategy` builds
   it on the accelerator that DeepSpeed found.
3. DeepSpeed compiles its own Adam on first use (about a minute); `torch_adam` starts at once.
4. On a CPU DeepSpeed also compiles, at start-up, a shared-memory all-reduce that only its inference
   engine calls: another minute, and a compiler that the machine may not have. It is declared absent.
5. When DeepSpeed gathers several ZeRO-3 parameters at once, it waits for the last of the transfers
   only. NCCL finishes them in order; gloo does not, and a weight read or loaded meanwhile is garbage
   (a model that two busy ranks load comes out wrong every few tries). On a CPU they go one by one.
"""

import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import ModuleType, SimpleNamespace
from typing import Any, NoReturn

import deepspeed
import torch.distributed
import transformers
from deepspeed.accelerator import get_accelerator
from torch.distributed.device_mesh import init_device_mesh

from learner.config import LearnerConfig

_FLASH_ATTN_NAMES = {
    "flash_attn": (),
    "flash_attn.bert_padding": ("index_first_axis", "pad_input", "rearrange", "unpad_input"),
    "flash_attn.utils": (),
    "flash_attn.utils.distributed": ("all_gather",),
}

_INFERENCE_ALL_REDUCE = "deepspeed_shm_comm"


def _absent(*_args: Any, **_kwargs: Any) -> NoReturn:
    raise RuntimeError("flash-attn is not installed: packing samples needs it")


@contextmanager
def _flash_attn_stand_in() -> Iterator[None]:
    """Let `openrlhf.models` be imported where flash-attn is not installed."""
    if importlib.util.find_spec("flash_attn") is not None:
        yield
        return
    for module_name, names in _FLASH_ATTN_NAMES.items():
        module = ModuleType(module_name)
        module.__dict__.update(dict.fromkeys(names, _absent))
        sys.modules[module_name] = module
    try:
        yield
    finally:
        for module_name in _FLASH_ATTN_NAMES:
            del sys.modules[module_name]


with _flash_attn_stand_in():
    from openrlhf.models import Actor, PolicyLoss
    from openrlhf.models.loss import aggregate_loss
    from openrlhf.models.utils import compute_approx_kl, set_z3_leaf_modules
    from openrlhf.utils.deepspeed import DeepspeedStrategy

__all__ = [
    "Actor",
    "PolicyLoss",
    "Strategy",
    "aggregate_loss",
    "compute_approx_kl",
    "set_z3_leaf_modules",
]


class Strategy(DeepspeedStrategy):  # type: ignore[misc]  # OpenRLHF is not typed
    """OpenRLHF's strategy, on whichever accelerator DeepSpeed found, configured by a LearnerConfig."""

    def __init__(self, config: LearnerConfig, seed: int, world_size: int) -> None:
        super().__init__(
            seed=seed,
            max_norm=config.max_grad_norm,
            micro_train_batch_size=1,
            train_batch_size=world_size,
            zero_stage=config.zero_stage,
            args=_strategy_arguments(config),
        )
        self.config = config

    def setup_distributed(self, timeout: timedelta = timedelta(minutes=60)) -> None:
        """Join the process group and build the device mesh. Collective."""
        transformers.set_seed(self.seed)
        get_accelerator().set_device(0)
        deepspeed.ops.__compatible_ops__[_INFERENCE_ALL_REDUCE] = False
        deepspeed.init_distributed(timeout=timeout, verbose=False)
        self.world_size = torch.distributed.get_world_size()
        self.ds_device_mesh = init_device_mesh(
            get_accelerator().device_name(), (self.world_size, 1, 1), mesh_dim_names=("dp", "sp", "tp")
        )
        self.setup_ring_attn(self.ds_device_mesh)
        self.accumulated_gradient = 1

    def get_ds_train_config(self, optim_dict: dict[str, Any] | None = None, *, max_norm: float | None = None) -> Any:
        """OpenRLHF's DeepSpeed configuration, with the optimizer that the learner's configuration names."""
        ds_config = _gather_in_order(super().get_ds_train_config(optim_dict, max_norm=max_norm))
        ds_config["steps_per_print"] = None
        ds_config["zero_force_ds_cpu_optimizer"] = False
        if optim_dict is not None and self.config.optimizer == "torch_adam":
            ds_config["optimizer"]["params"]["torch_adam"] = True
        return ds_config

    def get_ds_eval_config(self, offload: bool = False) -> Any:
        """OpenRLHF's DeepSpeed configuration of a model that is not trained."""
        ds_config = _gather_in_order(super().get_ds_eval_config(offload))
        ds_config["steps_per_print"] = None
        return ds_config

    def optimizer_config(self) -> dict[str, Any]:
        """What `prepare` wants to know. The learning rate is constant here: the learner sets it each step."""
        config = self.config
        adam = {
            "lr": config.learning_rate,
            "betas": config.adam_betas,
            "eps": 1e-8,
            "weight_decay": config.weight_decay,
        }
        return {
            "optim": "adam",
            "adam": adam,
            "lr_scheduler": "constant",
            "scheduler_steps": 1,
            "max_norm": config.max_grad_norm,
        }


def join_process_group(rank: int, world_size: int, address: str, port: int, device: str) -> None:
    """Tell DeepSpeed where the other ranks are. It reads these from the environment, and only there.

    Raises:
        ValueError: DeepSpeed found another accelerator than `device`.
    """
    found = get_accelerator().device_name()
    if found != device:
        raise ValueError(
            f"the learner should run on {device!r}, but DeepSpeed found {found!r}: "
            f"set DS_ACCELERATOR={device} in the environment before the process starts"
        )
    where = {"RANK": rank, "WORLD_SIZE": world_size, "LOCAL_RANK": 0, "MASTER_ADDR": address, "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in where.items()})


def _gather_in_order(ds_config: dict[str, Any]) -> dict[str, Any]:
    """See 5 above."""
    ds_config["zero_optimization"]["stage3_allgather_sequential"] = get_accelerator().device_name() == "cpu"
    return ds_config


def _strategy_arguments(config: LearnerConfig) -> SimpleNamespace:
    """The part of OpenRLHF's command line that its strategy reads."""
    accumulate_in_float32 = config.dtype == "bfloat16" and config.zero_stage > 0
    return SimpleNamespace(
        local_rank=-1,
        ds=SimpleNamespace(
            param_dtype={"bfloat16": "bf16", "float32": "fp32"}[config.dtype],
            adam_offload=config.offload_optimizer,
            grad_accum_dtype="fp32" if accumulate_in_float32 else None,
            zero_stage=config.zero_stage,
            tensor_parallel_size=1,
        ),
        train=SimpleNamespace(dynamic_batch_enable=True),
    )
