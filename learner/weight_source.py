"""The learner's side of weight transfer: from the policy's weights to the wire.

One `WeightSender` lives on every rank of the learner, and `manifest`, `connect` and `send` are called on every
rank: reading a weight that ZeRO-3 has partitioned takes them all. Rank 0 alone is a member of the transfer
group. The order of calls, each engine's half running at the same time (`rollout.weight_sync` drives both):

    rank 0: rendezvous(address)     an address and a free port
    all:    manifest()              what will be sent; it does not change
    all:    connect(group)          rank 0 blocks until every engine's workers have joined
    all:    send(version)           rank 0 blocks until the last byte is handed over; returns the checksum

`connect` again whenever the group's members change or a transfer broke off. With gloo, both blocking calls end
with an error after the group's timeout, and the learner does not import vLLM; nccl uses vLLM's own trainer
engine, and a rank that hangs in NCCL is ended by the deadline on the learner's actor.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal, Protocol

import torch

from rollout.weight_sync import TransferGroup, TransferManifest
from rollout.weight_wire import Group, ParameterSpec, broadcast, buckets, checksum, form_group, free_port, pack

Weights = Callable[[], Iterable[tuple[str, torch.Tensor]]]
Pairs = Iterator[tuple[str, torch.Tensor]]


class WeightSender:
    """Sends the policy's weights in the engines' data type.

    Args:
        weights: Yields all weights, whole, under their Hugging Face names, in the same order each time:
            `Learner.merged_parameters`, or a plain module's `named_parameters`.
        rank: This process's rank in the learner.
        dtype: The engines' data type.
        backend: How the weights travel.
    """

    def __init__(
        self, weights: Weights, rank: int, dtype: torch.dtype, backend: Literal["gloo", "nccl"] = "gloo"
    ) -> None:
        self._weights, self._rank, self._dtype = weights, rank, dtype
        self._specs: list[ParameterSpec] = []
        self._link: _Link = _GlooLink() if backend == "gloo" else _NcclLink()

    def rendezvous(self, address: str) -> tuple[str, int]:
        """The address of this machine that engines reach, and a port that is free there."""
        return address, free_port(address)

    def manifest(self) -> TransferManifest:
        """What `send` will send, as the engines are told."""
        if not self._specs:
            self._specs = [ParameterSpec(name, self._dtype, tuple(tensor.shape)) for name, tensor in self._weights()]
        return TransferManifest(
            names=tuple(spec.name for spec in self._specs),
            dtype_names=tuple(str(spec.dtype).removeprefix("torch.") for spec in self._specs),
            shapes=tuple(spec.shape for spec in self._specs),
        )

    def connect(self, group: TransferGroup) -> None:
        """Form the group on rank 0; other ranks have no part in it.

        Raises:
            TimeoutError: not all members joined in time.
        """
        if self._rank == 0:
            self._link.connect(group)

    def send(self, version: int) -> int:
        """Send all weights; the checksum of what was sent (0 on ranks other than 0).

        Raises:
            RuntimeError: `manifest` or `connect` was not called before.
            ConnectionError: an engine is gone or hangs. The group is of no more use.
        """
        if not self._specs:
            raise RuntimeError(f"weights of version {version} were not announced: call manifest before send")
        pairs = self._converted()
        try:
            return self._link.send(self._specs, pairs) if self._rank == 0 else 0
        finally:
            for _ in pairs:  # every rank reads to the end: those that do not send, and one that failed to
                pass

    @torch.no_grad()
    def _converted(self) -> Pairs:
        for name, tensor in self._weights():
            yield name, tensor.detach().to(self._dtype)


class _Link(Protocol):
    """Rank 0's membership of a transfer group."""

    def connect(self, group: TransferGroup) -> None: ...

    def send(self, specs: list[ParameterSpec], pairs: Pairs) -> int: ...


class _GlooLink:
    """A gloo group: flat buffers through host memory."""

    def __init__(self) -> None:
        self._group: Group | None = None

    def connect(self, group: TransferGroup) -> None:
        self._group = None  # the old group's sockets close before the new one's open
        self._group = form_group(group.address, group.port, group.rank, group.world_size, group.timeout_s)

    def send(self, specs: list[ParameterSpec], pairs: Pairs) -> int:
        if self._group is None:
            raise RuntimeError("weights have no group to go to: call connect before send")
        total = 0
        for run in buckets(specs):
            buffer = pack(run, pairs)
            total = checksum(buffer, total)
            broadcast(self._group, buffer)
        return total


class _NcclLink:
    """An NCCL group, through vLLM's own packed trainer engine.

    That engine would call the inference side as well. Here `rollout.weight_sync` does so, with a rank of its own
    for every engine, and the trainer engine is given a client that does nothing.
    """

    def __init__(self) -> None:
        self._trainer: Any = None

    def connect(self, group: TransferGroup) -> None:
        from rollout.nccl_trainer import nccl_trainer

        self._trainer = None
        self._trainer = nccl_trainer(group, _AbsentClient(), _Source([], iter(())))

    def send(self, specs: list[ParameterSpec], pairs: Pairs) -> int:
        if self._trainer is None:
            raise RuntimeError("weights have no group to go to: call connect before send")
        source = _Source(specs, pairs)
        self._trainer.source = source
        self._trainer.send_weights()
        return source.checksum


class _Source:
    """One pass over the weights, as vLLM's `WeightSource`, with a checksum of what passed."""

    def __init__(self, specs: list[ParameterSpec], pairs: Pairs) -> None:
        self._specs, self._pairs = specs, pairs
        self.checksum = 0

    def metadata(self) -> list[ParameterSpec]:
        """Name, data type and shape of each weight, by the attribute names of vLLM's `ParamMeta`."""
        return self._specs

    def __iter__(self) -> Pairs:
        for name, tensor in self._pairs:
            self.checksum = checksum(tensor, self.checksum)
            yield name, tensor


class _AbsentClient:
    """Answers vLLM's trainer engine in place of the inference side, which the orchestrator calls itself."""

    def init_weight_transfer_engine(self, init_info: dict[str, Any]) -> None: ...

    def start_weight_update(self) -> None: ...

    def update_weights(self, update_info: Any) -> None: ...

    def finish_weight_update(self, weight_version: str | None = None) -> None: ...
