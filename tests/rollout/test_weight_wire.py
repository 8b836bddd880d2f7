"""The wire of the gloo back end: cutting, packing, checksums, groups."""

import threading
import zlib

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rollout.weight_wire import (
    ParameterSpec,
    broadcast,
    buckets,
    checksum,
    form_group,
    free_port,
    integer_sums,
    pack,
    unpack,
)


def spec(name, *shape, dtype=torch.bfloat16):
    return ParameterSpec(name, dtype, shape)


def test_a_bucket_is_filled_up_to_the_limit_and_a_large_parameter_is_alone():
    specs = [spec("a", 10), spec("b", 40), spec("c", 60), spec("d", 300), spec("e", 1)]
    assert [[one.name for one in run] for run in buckets(specs, limit=100)] == [["a", "b"], ["c"], ["d"], ["e"]]


@given(st.lists(st.integers(0, 50), max_size=30), st.integers(1, 120))
def test_buckets_keep_order_and_limit(sizes, limit):
    specs = [spec(str(index), size) for index, size in enumerate(sizes)]
    runs = list(buckets(specs, limit))
    assert [one for run in runs for one in run] == specs
    assert all(len(run) == 1 or sum(one.num_bytes for one in run) <= limit for run in runs)


def test_pack_casts_and_unpack_restores():
    tensors = {"a": torch.tensor([[1.0, 2.0], [3.0, 4.0]]), "b": torch.tensor([-0.5])}
    specs = [spec("a", 2, 2), spec("b", 1)]
    buffer = pack(specs, tensors.items())
    assert buffer.numel() == 10
    received = dict(unpack(specs, buffer))
    assert received["a"].dtype == torch.bfloat16
    assert received["a"].tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert received["b"].tolist() == [-0.5]


def test_pack_takes_no_more_than_its_own_from_the_stream():
    stream = iter([("a", torch.zeros(1)), ("b", torch.ones(1))])
    pack([spec("a", 1)], stream)
    assert next(stream)[0] == "b"


@pytest.mark.parametrize("pairs", [[("b", torch.zeros(2))], [("a", torch.zeros(3))], []])
def test_pack_refuses_what_was_not_announced(pairs):
    with pytest.raises(ValueError, match=r"where a of shape \(2,\) was announced"):
        pack([spec("a", 2)], pairs)


def test_mixed_data_types_that_do_not_align_are_refused():
    specs = [spec("a", 1), spec("b", 1, dtype=torch.float32)]
    with pytest.raises(ValueError, match="does not start at a multiple of its item size"):
        pack(specs, [("a", torch.zeros(1)), ("b", torch.zeros(1))])


def test_checksum_is_that_of_the_bytes_and_chains():
    values = torch.tensor([1, 2, 3, 250], dtype=torch.uint8)
    assert checksum(values) == zlib.crc32(bytes([1, 2, 3, 250]))
    assert checksum(values[2:], checksum(values[:2])) == checksum(values)
    assert checksum(values) != checksum(values.flip(0))


def test_integer_sums_by_hand():
    values = torch.tensor([1, 2, 3], dtype=torch.uint8)
    assert integer_sums(values).tolist() == [6, 1 * 1 + 2 * 2 + 3 * 3]
    assert integer_sums(values.flip(0)).tolist() == [6, 3 * 1 + 2 * 2 + 1 * 3]
    long = torch.arange(1000).to(torch.uint8)
    assert integer_sums(long, chunk=7).tolist() == integer_sums(long).tolist()


def test_broadcast_reaches_every_member():
    port = free_port("127.0.0.1")
    received = {}

    def member(rank):
        buffer = torch.zeros(5, dtype=torch.uint8)
        broadcast(form_group("127.0.0.1", port, rank, 3, timeout_s=10), buffer)
        received[rank] = buffer.tolist()

    threads = [threading.Thread(target=member, args=(rank,)) for rank in (1, 2)]
    for thread in threads:
        thread.start()
    broadcast(form_group("127.0.0.1", port, 0, 3, timeout_s=10), torch.arange(5, dtype=torch.uint8))
    for thread in threads:
        thread.join(10)
    assert received == {1: [0, 1, 2, 3, 4], 2: [0, 1, 2, 3, 4]}


def test_a_group_that_does_not_form_says_so_in_time():
    with pytest.raises(TimeoutError, match=r"was not formed within 0\.2 s \(rank 0 of 2\)"):
        form_group("127.0.0.1", free_port("127.0.0.1"), 0, 2, timeout_s=0.2)
