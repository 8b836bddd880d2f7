"""The wire of the gloo back end: a process group of our own, and tensors packed into flat buffers.

Both sides of a transfer use this module, so that they cannot disagree: the learner's rank 0 packs and
broadcasts, each engine's workers receive and unpack. It needs torch alone; the learner does not pay for
importing vLLM.

Bytes travel as they lie in memory. A *bucket* is a run of whole parameters of at most `BUCKET_BYTES`
(one larger parameter is a bucket of its own), so the sender holds one bucket at a time. The receiver
keeps all buckets until the last has come: a transfer that breaks off has changed no weight.
"""

import socket
import zlib
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

import torch
import torch.distributed

BUCKET_BYTES = 256 * 2**20

c10d: Any = torch.distributed  # torch's stubs leave out the parts of its process groups used here
Group = Any
"""A `torch.distributed.ProcessGroupGloo`."""


class ParameterSpec(NamedTuple):
    """What travels for one parameter."""

    name: str
    """As in a Hugging Face checkpoint."""
    dtype: torch.dtype
    """On the wire: the engine's, so that both sides hold the same bytes."""
    shape: tuple[int, ...]

    @property
    def num_bytes(self) -> int:
        """Size on the wire."""
        return self.dtype.itemsize * torch.Size(self.shape).numel()


def form_group(address: str, port: int, rank: int, world_size: int, timeout_s: float) -> Group:
    """Join a gloo group of our own, apart from torch's default group. Rank 0 serves the rendezvous.

    Raises:
        TimeoutError: not all members joined within `timeout_s`, which also bounds each later broadcast.
    """
    timeout = timedelta(seconds=timeout_s)
    try:
        store = c10d.TCPStore(address, port, world_size, is_master=rank == 0, timeout=timeout, wait_for_workers=False)
        options = c10d.ProcessGroupGloo._Options()
        options._devices = [c10d.ProcessGroupGloo.create_device(hostname=_own_address(address, port))]
        options._timeout = timeout
        return c10d.ProcessGroupGloo(c10d.PrefixStore("weights", store), rank, world_size, options)
    except RuntimeError as error:
        raise TimeoutError(
            f"weight-transfer group at {address}:{port} was not formed within {timeout_s:g} s "
            f"(rank {rank} of {world_size}): {_first_line(error)}"
        ) from error


def broadcast(group: Group, buffer: torch.Tensor) -> None:
    """Send (rank 0) or receive (others) one flat buffer in place.

    Raises:
        ConnectionError: a member is gone, or the group's timeout passed.
    """
    options = c10d.BroadcastOptions()
    options.rootRank = 0
    try:
        group.broadcast([buffer], options).wait()
    except RuntimeError as error:
        raise ConnectionError(f"weight broadcast broke off: {_first_line(error)}") from error


def free_port(address: str) -> int:
    """A port of this machine that is free now."""
    with socket.socket(_family(address), socket.SOCK_STREAM) as listener:
        listener.bind((address, 0))
        return int(listener.getsockname()[1])


def buckets(specs: Sequence[ParameterSpec], limit: int = BUCKET_BYTES) -> Iterator[list[ParameterSpec]]:
    """Cut the parameters, in order, into runs of at most `limit` bytes. Both sides cut alike."""
    run: list[ParameterSpec] = []
    filled = 0
    for spec in specs:
        if run and filled + spec.num_bytes > limit:
            yield run
            run, filled = [], 0
        run.append(spec)
        filled += spec.num_bytes
    if run:
        yield run


def pack(specs: Sequence[ParameterSpec], tensors: Iterable[tuple[str, torch.Tensor]]) -> torch.Tensor:
    """Copy the next `len(specs)` tensors into one flat uint8 buffer, cast to the wire's data types.

    Raises:
        ValueError: name or shape of a tensor is not what its spec says.
    """
    buffer = torch.empty(sum(spec.num_bytes for spec in specs), dtype=torch.uint8)
    offset = 0
    source = iter(tensors)
    for spec in specs:
        name, tensor = next(source, ("nothing", torch.empty(0)))
        if (name, tuple(tensor.shape)) != (spec.name, spec.shape):
            raise ValueError(
                f"the sender yields {name} of shape {tuple(tensor.shape)} where {spec.name} of shape "
                f"{spec.shape} was announced; announce and send the same module in the same order"
            )
        _view(buffer, offset, spec).copy_(tensor.detach())
        offset += spec.num_bytes
    return buffer


def unpack(specs: Sequence[ParameterSpec], buffer: torch.Tensor) -> Iterator[tuple[str, torch.Tensor]]:
    """Views into a received buffer, by parameter."""
    offset = 0
    for spec in specs:
        yield spec.name, _view(buffer, offset, spec)
        offset += spec.num_bytes


def checksum(tensor: torch.Tensor, previous: int = 0) -> int:
    """Checksum of a tensor's bytes, chained to that of what came before it.

    On a CPU: CRC-32 of the bytes. On an accelerator: CRC-32 of two exact integer sums of the bytes, one of
    them weighted by position, so that only 16 bytes leave the device. Both ends of a transfer must hold the
    tensor on the same kind of device.
    """
    flat = tensor.detach().contiguous().reshape(-1).view(torch.uint8)
    if flat.device.type == "cpu":
        return zlib.crc32(flat.numpy().data, previous)
    return zlib.crc32(integer_sums(flat).numpy().data, previous)


def integer_sums(flat: torch.Tensor, chunk: int = 2**24) -> torch.Tensor:
    """Sum of the bytes, and sum of each byte times its position modulo 65521: int64 `[2]` on the CPU."""
    sums = torch.zeros(2, dtype=torch.int64, device=flat.device)
    for start in range(0, flat.numel(), chunk):
        values = flat[start : start + chunk].to(torch.int64)
        position = torch.arange(start, start + values.numel(), device=flat.device) % 65521 + 1
        sums += torch.stack([values.sum(), (values * position).sum()])
    return sums.cpu()


def _view(buffer: torch.Tensor, offset: int, spec: ParameterSpec) -> torch.Tensor:
    piece = buffer[offset : offset + spec.num_bytes]
    if offset % spec.dtype.itemsize:
        raise ValueError(
            f"{spec.name} ({spec.dtype}) does not start at a multiple of its item size; send one data type"
        )
    return piece.view(spec.dtype).view(spec.shape)


def _own_address(peer: str, port: int) -> str:
    """The address of this machine's interface that reaches the peer (no packet is sent)."""
    with socket.socket(_family(peer), socket.SOCK_DGRAM) as probe:
        probe.connect((peer, port))
        return str(probe.getsockname()[0])


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0]
