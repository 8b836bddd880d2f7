import pytest

from learner import checkpoint
from learner.checkpoint import CheckpointError, Manifest
from learner.registry import CheckpointRegistry


def write(registry, step, *, state=True, weights=b"weights"):
    path = registry.path(step)
    partial = checkpoint.begin(path)
    (partial / checkpoint.WEIGHTS).mkdir()
    (partial / checkpoint.WEIGHTS / "model.safetensors").write_bytes(weights)
    if state:
        (partial / checkpoint.STATE).mkdir()
    checkpoint.publish(path, manifest(step, checkpoint.content_hash(partial / checkpoint.WEIGHTS)), {"slot": 8 * step})
    return path


def manifest(step, weights_hash):
    return Manifest(
        step=step,
        weights_hash=weights_hash,
        probe_token_ids=(1, 2),
        probe_logprobs=(-0.5,),
        run="r",
        arm="baseline",
        seed=3,
        num_ranks=1,
        zero_stage=0,
        dtype="float32",
        lora_rank=0,
        created="2026-01-01T00:00:00+00:00",
        versions={},
    )


@pytest.fixture
def registry(tmp_path):
    return CheckpointRegistry(tmp_path)


def test_what_was_published_is_read_back(registry):
    path = write(registry, 50)
    assert path.name == "step-000050"
    assert checkpoint.load_manifest(path).step == 50
    assert checkpoint.load_client_state(path) == {"slot": 400}


def test_changed_weights_are_found_out(registry):
    path = write(registry, 1)
    (path / checkpoint.WEIGHTS / "model.safetensors").write_bytes(b"weightz")
    with pytest.raises(CheckpointError, match="changed or damaged"):
        checkpoint.load_manifest(path)


def test_the_hash_is_of_the_content(registry):
    hashes = [
        checkpoint.load_manifest(write(registry, step, weights=w)).weights_hash
        for step, w in enumerate([b"a", b"a", b"b"])
    ]
    assert hashes[0] == hashes[1] != hashes[2]


def test_a_folder_without_weights_has_no_hash(tmp_path):
    with pytest.raises(CheckpointError, match="no safetensors"):
        checkpoint.content_hash(tmp_path)


def test_what_a_crash_left_behind_is_ignored_and_overwritten(registry):
    write(registry, 25)
    partial = checkpoint.begin(registry.path(50))
    (partial / "junk").write_text("half")
    assert [found.manifest.step for found in registry.list()] == [25]
    path = write(registry, 50)
    assert not (path / "junk").exists()
    assert [found.manifest.step for found in registry.list()] == [25, 50]


def test_a_crash_before_the_rename_leaves_the_old_checkpoint(registry, monkeypatch):
    path = write(registry, 50, weights=b"old")
    monkeypatch.setattr(checkpoint, "_flush", lambda _path: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write(registry, 50, weights=b"new")
    assert (path / checkpoint.WEIGHTS / "model.safetensors").read_bytes() == b"old"


def test_a_checkpoint_written_again_replaces_the_old_one(registry):
    write(registry, 50, weights=b"old")
    path = write(registry, 50, weights=b"new")
    assert (path / checkpoint.WEIGHTS / "model.safetensors").read_bytes() == b"new"
    assert [entry.name for entry in path.parent.iterdir()] == ["step-000050"]


def test_an_unreadable_manifest_is_named(registry):
    path = write(registry, 1)
    (path / checkpoint.MANIFEST).write_text("{}")
    with pytest.raises(CheckpointError, match=r"step-000001 is not a complete checkpoint: .*step"):
        checkpoint.load_manifest(path)


def test_prune_keeps_all_weights_and_the_newest_states(registry):
    for step in (25, 50, 75):
        write(registry, step)
    write(registry, 80, state=False)
    registry.prune(keep=2)
    assert [(found.manifest.step, found.resumable) for found in registry.list()] == [
        (25, False),
        (50, True),
        (75, True),
        (80, False),
    ]
    assert registry.latest_resumable().manifest.step == 75
    checkpoint.load_manifest(registry.path(25))


def test_prune_must_leave_one(registry):
    with pytest.raises(ValueError, match="keep=0"):
        registry.prune(keep=0)


def test_a_run_without_checkpoints(registry):
    assert registry.list() == []
    assert registry.latest_resumable() is None
