"""What of a learner goes to disk and comes back: the weights for everyone, the state for itself."""

from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from deepspeed.runtime.checkpoint_engine import TorchCheckpointEngine
from deepspeed.runtime.fp16.loss_scaler import DynamicLossScaler, LossScaler
from deepspeed.runtime.zero.config import ZeroStageEnum
from deepspeed.utils.tensor_fragment import fragment_address
from peft import PeftModel
from torch import Tensor, nn

from learner.policy import merged_parameters

_TAG = "rank_files"
_ALLOWED = [LossScaler, DynamicLossScaler, ZeroStageEnum, fragment_address]
"""The only classes besides tensors and containers that DeepSpeed's state files hold."""


class RestrictedCheckpointEngine(TorchCheckpointEngine):  # type: ignore[misc]  # DeepSpeed is not typed
    """DeepSpeed's own reader and writer, except that reading runs no code from the file."""

    def load(self, path: str, map_location: Any = None) -> Any:
        """Read one file with torch's restricted unpickler."""
        with torch.serialization.safe_globals(_ALLOWED):
            return torch.load(path, map_location=map_location, weights_only=True)


def write_weights(module: nn.Module, tokenizer: Any, folder: Path) -> None:
    """Write a Hugging Face folder with whole, merged weights. Collective; rank 0 writes."""
    is_writer = dist.get_rank() == 0
    tensors: dict[str, Tensor] = {}
    for name, tensor in merged_parameters(module):
        if is_writer:
            tensors[name] = tensor.to("cpu", copy=True).contiguous()
    if not is_writer:
        return
    base: Any = module.get_base_model() if isinstance(module, PeftModel) else module
    base.save_pretrained(folder, state_dict=tensors | _persistent_buffers(base))
    tokenizer.save_pretrained(folder)


def save_state(engine: Any, folder: Path) -> None:
    """Write optimizer state and master weights, one file a rank. Collective."""
    engine.checkpoint_engine = RestrictedCheckpointEngine(engine._config)
    engine.save_checkpoint(str(folder), tag=_TAG, save_latest=False)


def load_state(engine: Any, folder: Path) -> None:
    """Read back what `save_state` wrote. Collective.

    Raises:
        ValueError: the folder holds no state for this rank.
    """
    engine.checkpoint_engine = RestrictedCheckpointEngine(engine._config)
    found, _ = engine.load_checkpoint(str(folder), tag=_TAG)
    if found is None:
        raise ValueError(f"{folder} holds no DeepSpeed state to resume from")


def _persistent_buffers(module: nn.Module) -> dict[str, Tensor]:
    saved = module.state_dict().keys()
    return {name: buffer.cpu() for name, buffer in module.named_buffers() if name in saved}
