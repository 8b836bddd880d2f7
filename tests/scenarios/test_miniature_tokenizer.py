"""What engines load from a model's folder must be the tokenizer that the model was trained with."""

from transformers import AutoTokenizer

from rollout.types import Message
from scenarios.miniature.model import MAX_LENGTH, new_model
from scenarios.miniature.personas import NEUTRAL_PROMPT
from scenarios.miniature.tokenizer import build_tokenizer, prompt_ids, save_tokenizer
from scenarios.miniature.world import load_world

TEXTS = ("the nurse asks about the dose .", 'say { "criteria_met" : true }', NEUTRAL_PROMPT)


def test_the_loaded_tokenizer_is_the_trained_one(tmp_path):
    world = load_world("configs/worlds/coupled.toml")
    tokenizer = build_tokenizer(TEXTS)
    new_model(world.policy, tokenizer, seed=0).save_pretrained(tmp_path)
    save_tokenizer(tokenizer, str(tmp_path), MAX_LENGTH)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    for text in (*TEXTS, "unseen words too"):
        assert loaded.encode(text, add_special_tokens=False) == tokenizer.encode(text, add_special_tokens=False).ids
        assert loaded.decode(loaded.encode(text, add_special_tokens=False)) == text
    assert len(loaded.encode("the nurse asks", add_special_tokens=False)) == 3


def test_the_chat_template_opens_every_conversation_with_a_system_turn(tmp_path):
    tokenizer = build_tokenizer(TEXTS)
    save_tokenizer(tokenizer, str(tmp_path), MAX_LENGTH)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    for opening in ([], [{"role": "system", "content": "you are a nurse ."}]):
        turns = [*opening, {"role": "user", "content": "the dose ?"}]
        rendered = loaded.apply_chat_template(turns, add_generation_prompt=True, return_dict=False)
        assert rendered == prompt_ids(tokenizer, [Message(**turn) for turn in turns])
    assert NEUTRAL_PROMPT in loaded.apply_chat_template(
        [{"role": "user", "content": "the dose ?"}], tokenize=False, add_generation_prompt=True
    )
