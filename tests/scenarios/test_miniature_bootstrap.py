"""The bootstrap: cached by content, atomic, honest about failures; and (slow) that tiny models really come out."""

import os
from pathlib import Path

import msgspec
import pytest

from scenarios.miniature import bootstrap as module
from scenarios.miniature.bootstrap import Bootstrapped, bootstrap, content_key
from scenarios.miniature.world import load_world

PATH = "configs/worlds/coupled.toml"
RECORD = Bootstrapped(
    world="coupled",
    persona_coupling=1.0,
    policy_path="policy",
    judge_path="judge",
    judge_agreement=0.97,
    judge_agreement_held_out=0.95,
    seconds=100.0,
)


def ignore(stage: str, share: float) -> None:
    """A report that nobody reads."""


def tiny_world(folder: Path, policy_rate: str = "4e-3") -> str:
    text = Path(PATH).read_text(encoding="utf-8")
    head, _, rest = text.partition("[policy]")
    sizes = rest.partition("[sizes]")[2]
    model = "hidden_size = 64\nnum_layers = 1\nnum_heads = 2\nintermediate_size = 64\nsteps = 4\nbatch_size = 4\n"
    models = f"[policy]\n{model}learning_rate = {policy_rate}\n[judge]\n{model}learning_rate = 4e-3\n"
    file = folder / "world.toml"
    file.write_text(f"{head}{models}[sizes]{sizes}", encoding="utf-8")
    return str(file)


def test_the_key_follows_the_parameters_and_nothing_else():
    world = load_world(PATH)
    assert content_key(world) == content_key(load_world(PATH))
    changed = (
        msgspec.structs.replace(world, persona_coupling=0.9),
        msgspec.structs.replace(world, seed=world.seed + 1),
        msgspec.structs.replace(world, judge=msgspec.structs.replace(world.judge, steps=1)),
    )
    assert len({content_key(other) for other in (world, *changed)}) == 4


def test_what_is_in_the_cache_is_not_made_again(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_make", lambda *_: pytest.fail("trained again"))
    world = load_world(PATH)
    folder = tmp_path / f"{world.name}-{content_key(world)}"
    folder.mkdir()
    (folder / "bootstrap.json").write_bytes(msgspec.json.encode(RECORD))
    found = bootstrap(PATH, str(tmp_path), ignore)
    assert found.judge_agreement == 0.97
    assert found.policy_path == str(folder / "policy")
    assert found.judge_path == str(folder / "judge")


def test_a_failed_making_leaves_nothing_in_the_cache(tmp_path, monkeypatch):
    def fail(world_path, world, folder, report):
        (folder / "policy").mkdir()
        raise RuntimeError("no luck")

    monkeypatch.setattr(module, "_make", fail)
    with pytest.raises(RuntimeError, match="no luck"):
        bootstrap(PATH, str(tmp_path / "cache"), ignore)
    assert os.listdir(tmp_path / "cache") == []


def test_where_another_process_was_faster_its_models_stay(tmp_path, monkeypatch):
    world = load_world(PATH)
    folder = tmp_path / f"{world.name}-{content_key(world)}"

    def make(world_path, world, made, report):
        (made / "bootstrap.json").write_bytes(msgspec.json.encode(RECORD))
        folder.mkdir()
        faster = msgspec.structs.replace(RECORD, seconds=7.0)
        (folder / "bootstrap.json").write_bytes(msgspec.json.encode(faster))

    monkeypatch.setattr(module, "_make", make)
    assert bootstrap(PATH, str(tmp_path), ignore).seconds == 7.0
    assert os.listdir(tmp_path) == [folder.name]


@pytest.mark.slow
def test_tiny_models_come_out_whole(tmp_path):
    stages: dict[str, float] = {}
    made = bootstrap(tiny_world(tmp_path), str(tmp_path / "cache"), stages.__setitem__)
    assert stages == {"policy": 1.0, "judge": 1.0, "agreement": 1.0}
    for path in (made.policy_path, made.judge_path):
        names = set(os.listdir(path))
        assert {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"} <= names
    assert 0.0 <= made.judge_agreement <= 1.0


@pytest.mark.slow
def test_the_chat_template_renders_what_the_models_were_trained_on(tmp_path):
    from transformers import AutoTokenizer

    from rollout.types import Message
    from scenarios.miniature.tokenizer import prompt_ids
    from scenarios.miniature.training import save_tokenizer, world_tokenizer

    tokenizer = world_tokenizer(load_world(PATH))
    save_tokenizer(tokenizer, str(tmp_path), 1024)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    ask = Message(role="user", content="what now ?")
    for messages in ([ask], [Message(role="system", content="you are a kind assistant ."), ask]):
        rendered = loaded.apply_chat_template(
            [msgspec.to_builtins(message) for message in messages], add_generation_prompt=True, return_dict=False
        )
        assert rendered == prompt_ids(tokenizer, messages)
    assert loaded.decode(loaded.encode("say how thin the evidence is .")) == "say how thin the evidence is ."
    assert loaded.eos_token == "<|end|>"


@pytest.mark.slow
def test_a_diverging_model_is_named(tmp_path):
    with pytest.raises(RuntimeError, match="policy"):
        bootstrap(tiny_world(tmp_path, policy_rate="1e30"), str(tmp_path / "cache"), ignore)
    assert os.listdir(tmp_path / "cache") == []
