"""The learner's half of vLLM's own NCCL weight transfer. A learner that sends over gloo never imports this."""

from typing import Any

from vllm.distributed.weight_transfer import WeightTransferTrainerFactory
from vllm.distributed.weight_transfer.nccl_engine import NCCLTrainerInitInfo

from rollout.weight_sync import TransferGroup


def nccl_trainer(group: TransferGroup, client: Any, source: Any) -> Any:
    """Join a transfer group as its sender (rank 0) and return vLLM's packed trainer engine.

    Args:
        group: where the members meet, and how many they are.
        client: stands in for the inference side, which the orchestrator calls itself.
        source: the weights, as vLLM's `WeightSource`; may be replaced before each send.
    """
    info = NCCLTrainerInitInfo(
        master_address=group.address, master_port=group.port, world_size=group.world_size, packed=True, rank=0
    )
    return WeightTransferTrainerFactory.trainer_init(info, client=client, source=source)
