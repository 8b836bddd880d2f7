"""The learner's side of a transfer, over gloo to a receiver in a thread."""

import subprocess
import sys
import threading

import pytest
import torch

from learner.weight_source import WeightSender, _Source
from rollout.weight_sync import TransferGroup
from rollout.weight_wire import ParameterSpec, broadcast, buckets, checksum, form_group, unpack


def module():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2, bias=False))


def group(port, rank, world_size=2):
    return TransferGroup(address="127.0.0.1", port=port, world_size=world_size, rank=rank, timeout_s=10.0)


def receive(manifest, port, result):
    specs = [
        ParameterSpec(name, getattr(torch, dtype), shape)
        for name, dtype, shape in zip(manifest.names, manifest.dtype_names, manifest.shapes, strict=True)
    ]
    members = form_group("127.0.0.1", port, 1, 2, 10.0)
    for run in buckets(specs):
        buffer = torch.empty(sum(spec.num_bytes for spec in run), dtype=torch.uint8)
        broadcast(members, buffer)
        result["checksum"] = checksum(buffer, result.get("checksum", 0))
        result |= dict(unpack(run, buffer))


def test_manifest_names_every_weight_in_the_engines_type():
    sender = WeightSender(module().named_parameters, 0, torch.bfloat16)
    manifest = sender.manifest()
    assert manifest.names == ("0.weight", "0.bias", "1.weight")
    assert manifest.dtype_names == ("bfloat16",) * 3
    assert manifest.shapes == ((4, 3), (4,), (2, 4))


def test_what_arrives_is_what_the_learner_holds_now():
    policy = module()
    sender = WeightSender(policy.named_parameters, 0, torch.bfloat16)
    manifest = sender.manifest()
    address, port = sender.rendezvous("127.0.0.1")
    assert address == "127.0.0.1"
    with torch.no_grad():
        policy[1].weight.fill_(0.375)
    result = {}
    receiver = threading.Thread(target=receive, args=(manifest, port, result))
    receiver.start()
    sender.connect(group(port, 0))
    sent = sender.send(1)
    receiver.join(10)
    assert result.pop("checksum") == sent
    assert result["1.weight"].tolist() == [[0.375] * 4] * 2
    assert torch.equal(result["0.weight"], policy[0].weight.to(torch.bfloat16))


def test_ranks_that_do_not_send_read_every_weight():
    """Under ZeRO-3 each weight is gathered by all ranks: one that left early would hang the others."""
    read = []

    def weights():
        for name, tensor in module().named_parameters():
            read.append(name)
            yield name, tensor

    sender = WeightSender(weights, 1, torch.bfloat16)
    sender.manifest()
    read.clear()
    sender.connect(group(1, 0))
    assert sender.send(1) == 0
    assert read == ["0.weight", "0.bias", "1.weight"]


def test_a_sender_that_fails_still_reads_every_weight():
    read = []

    def weights():
        for name, tensor in module().named_parameters():
            read.append(name)
            yield name, tensor

    sender = WeightSender(weights, 0, torch.bfloat16)
    with pytest.raises(RuntimeError, match="call manifest before send"):
        sender.send(1)
    sender.manifest()
    read.clear()
    with pytest.raises(RuntimeError, match="call connect before send"):
        sender.send(1)
    assert len(read) == 3


def test_source_for_nccl_sums_what_passes():
    pairs = [("a", torch.ones(2)), ("b", torch.zeros(3))]
    source = _Source([], iter(pairs))
    assert [name for name, _ in source] == ["a", "b"]
    assert source.checksum == checksum(pairs[1][1], checksum(pairs[0][1]))


def test_the_learner_does_not_import_vllm():
    code = "import sys, learner.weight_source; sys.exit('vllm' in sys.modules or 'ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
