"""The workers' side of weight transfer: back ends of vLLM's own interface, and what workers are asked beside it.

vLLM imports this module in each worker process because it is named as `worker_extension_cls`; that import
registers the back ends. From then on vLLM drives them: `init_weight_transfer_engine`, `start_weight_update`,
`update_weights`, `finish_weight_update`.

- `gloo`: for CPUs, and for GPUs whose operator prefers a transport that survives the death of a member.
- `verified_nccl`: vLLM's packed NCCL back end with a checksum of what arrived.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import torch
from vllm.config import VllmConfig, WeightTransferConfig, set_current_vllm_config
from vllm.distributed.weight_transfer import WeightTransferEngineFactory
from vllm.distributed.weight_transfer.base import (
    WeightTransferEngine,
    WeightTransferInitInfo,
    WeightTransferUpdateInfo,
)
from vllm.distributed.weight_transfer.nccl_engine import NCCLWeightTransferEngine, NCCLWeightTransferUpdateInfo
from vllm.model_executor.layers.vocab_parallel_embedding import ParallelLMHead, UnquantizedEmbeddingMethod
from vllm.model_executor.model_loader.reload import finalize_layerwise_reload, initialize_layerwise_reload

from rollout.weight_wire import Group, ParameterSpec, broadcast, buckets, checksum, form_group, unpack


@dataclass
class GlooInitInfo(WeightTransferInitInfo):
    """How a worker joins the group. `rank_offset` is the rank of its engine's first worker."""

    master_address: str
    master_port: int
    rank_offset: int
    world_size: int
    timeout_s: float


@dataclass
class GlooUpdateInfo(WeightTransferUpdateInfo):
    """What will be sent, parameter by parameter, in order. Lists of one length."""

    names: list[str]
    dtype_names: list[str]
    shapes: list[list[int]]

    def specs(self) -> list[ParameterSpec]:
        """The same, as records."""
        return [
            ParameterSpec(name, getattr(torch, dtype), tuple(shape))
            for name, dtype, shape in zip(self.names, self.dtype_names, self.shapes, strict=True)
        ]


class GlooWeightTransferEngine(WeightTransferEngine[GlooInitInfo, GlooUpdateInfo]):
    """Receives all weights in flat buffers over gloo, then loads them.

    Nothing is loaded before everything has arrived, so a transfer that breaks off can simply be repeated.
    """

    init_info_cls = GlooInitInfo
    update_info_cls = GlooUpdateInfo

    def __init__(
        self, config: WeightTransferConfig, vllm_config: VllmConfig, device: torch.device, model: torch.nn.Module
    ) -> None:
        super().__init__(config, vllm_config, device, model)
        self._group: Group | None = None
        self.received_checksum: int | None = None

    def init_transfer_engine(self, init_info: GlooInitInfo) -> None:
        """Join a new group; an earlier one is left."""
        self._group = None
        rank = init_info.rank_offset + self.parallel_config.rank
        self._group = form_group(
            init_info.master_address, init_info.master_port, rank, init_info.world_size, init_info.timeout_s
        )

    def start_weight_update(self) -> None:
        """Make the layers ready for weights in checkpoint format."""
        self.received_checksum = None
        initialize_layerwise_reload(self.model)

    def update_weights(self, update_info: dict[str, Any]) -> None:
        """Receive and load. (vLLM's own synchronizes an accelerator, which a CPU has not.)"""
        self.receive_weights(self.parse_update_info(update_info))
        if torch.accelerator.is_available():
            torch.accelerator.synchronize()

    def receive_weights(self, update_info: GlooUpdateInfo) -> None:
        """Receive all buckets, then load all tensors."""
        if self._group is None:
            raise RuntimeError("weights were sent before init_weight_transfer_engine formed a group")
        runs = list(buckets(update_info.specs()))
        arrived: list[torch.Tensor] = []
        total = 0
        for run in runs:
            buffer = torch.empty(sum(spec.num_bytes for spec in run), dtype=torch.uint8)
            broadcast(self._group, buffer)
            total = checksum(buffer, total)
            arrived.append(buffer)
        self.received_checksum = total
        model: Any = self.model  # vLLM's models load themselves; torch's stub of Module does not know that
        model.load_weights(pair for run, buffer in zip(runs, arrived, strict=True) for pair in unpack(run, buffer))

    def finish_weight_update(self) -> None:
        """Turn the loaded weights into what the kernels use."""
        finalize_layerwise_reload(self.model, self.model_config)  # type: ignore[no-untyped-call]
        refresh_output_heads(self.model)

    def shutdown(self) -> None:
        """Leave the group."""
        self._group = None


class VerifiedNcclEngine(NCCLWeightTransferEngine):
    """vLLM's NCCL back end, with a checksum over the tensors as they arrive on the device."""

    received_checksum: int | None = None

    def start_weight_update(self) -> None:
        """Forget the last transfer's checksum."""
        self.received_checksum = None
        super().start_weight_update()

    def receive_weights(self, update_info: NCCLWeightTransferUpdateInfo) -> None:
        """Receive as vLLM does, with a tap between the wire and the model."""
        model: Any = self.model
        total = 0

        def load_weights(weights: Iterable[tuple[str, torch.Tensor]]) -> Any:
            nonlocal total
            batch = list(weights)
            for _, tensor in batch:
                total = checksum(tensor, total)
            return model.load_weights(batch)

        self.model = cast(torch.nn.Module, SimpleNamespace(load_weights=load_weights))
        try:
            super().receive_weights(update_info)
        finally:
            self.model = model
        self.received_checksum = total

    def finish_weight_update(self) -> None:
        """Turn the loaded weights into what the kernels use."""
        super().finish_weight_update()
        refresh_output_heads(self.model)


def refresh_output_heads(model: torch.nn.Module) -> None:
    """Prepack output heads again from the weights that they now have.

    On a CPU vLLM prepacks the head's matrix for its kernel. A head tied to the input embedding has no weights
    of its own in a checkpoint, so vLLM's reload passes it by, and it goes on using the old matrix. Elsewhere
    (and for untied heads) this repeats what the reload has done.
    """
    for module in model.modules():
        if isinstance(module, ParallelLMHead) and isinstance(module.quant_method, UnquantizedEmbeddingMethod):
            module.quant_method.process_weights_after_loading(module)


class WorkerExtension:
    """Methods that vLLM adds to its workers, called through `collective_rpc`."""

    weight_transfer_engine: Any
    vllm_config: VllmConfig
    model_runner: Any

    def received_weights_checksum(self) -> int | None:
        """Checksum of the last complete transfer's bytes, in order; None when there was none."""
        checksum_of_bytes: int | None = self.weight_transfer_engine.received_checksum
        return checksum_of_bytes

    def load_checkpoint(self, path: str) -> None:
        """Replace all weights by those of a checkpoint folder of the same architecture."""
        with set_current_vllm_config(self.vllm_config):
            self.model_runner.reload_weights(weights_path=path)
            refresh_output_heads(self.model_runner.get_model())


WeightTransferEngineFactory.register_engine("gloo", GlooWeightTransferEngine)
WeightTransferEngineFactory.register_engine("verified_nccl", VerifiedNcclEngine)
