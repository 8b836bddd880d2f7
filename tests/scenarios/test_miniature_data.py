"""Prompts of a world: complete, disjoint, the same every time; the tokenizer; the advice corpora."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.types import Role
from rollout.types import Message
from scenarios.domains import DOMAINS
from scenarios.miniature.advice import AdviceFormat, advice_corpus
from scenarios.miniature.data import load_miniature
from scenarios.miniature.evaluations import EVALUATIONS
from scenarios.miniature.formats import Behaviour, Split, split_of
from scenarios.miniature.personas import NEUTRAL_PROMPT
from scenarios.miniature.tokenizer import build_tokenizer, prompt_ids
from scenarios.miniature.world import load_world
from scenarios.traits import EVALUATED_TRAITS, TRAITS

PATH = "configs/worlds/coupled.toml"
WORLD = load_world(PATH)
DATA = load_miniature(PATH)
TOKENIZER = build_tokenizer(["say how thin the evidence is .", "say it"])


def test_every_cell_has_its_number_of_trait_prompts():
    cells = Counter((prompt.trait, prompt.domain) for prompt in DATA.trait)
    assert set(cells.values()) == {WORLD.sizes.trait_per_cell}
    assert len(cells) == len(TRAITS) * len(DOMAINS)


def test_standard_prompts_are_spread_evenly_over_the_tasks():
    counts = Counter(prompt.task for prompt in DATA.standard)
    assert len(DATA.standard) == WORLD.sizes.standard
    assert max(counts.values()) - min(counts.values()) <= 1


def test_training_and_evaluation_share_no_family_and_no_prompt():
    items = [item for evaluation in DATA.evaluations for item in evaluation.items]
    training = [*DATA.standard, *DATA.trait]
    assert not {p.family for p in training} & {p.family for p in items}
    assert not {p.messages for p in training} & {p.messages for p in items}
    assert {split_of(p.family) for p in training} == {Split.TRAIN}
    assert {split_of(p.family) for p in items} == {Split.HELD_OUT}


def test_prompt_ids_are_unique():
    ids = [prompt.prompt_id for prompt in (*DATA.standard, *DATA.trait)]
    assert len(ids) == len(set(ids))


def test_the_evaluations_are_the_seven_traits_the_formats_capability_and_standard():
    names = [evaluation.name for evaluation in DATA.evaluations]
    assert len(names) == len(set(names))
    roles = Counter(evaluation.role for evaluation in DATA.evaluations)
    assert [n for n in names if n.startswith("trait:")] == [f"trait:{trait}" for trait in EVALUATED_TRAITS]
    assert (roles[Role.CAPABILITY], roles[Role.STANDARD]) == (2, 1)
    assert {form.name for form in EVALUATIONS} <= set(names)
    assert roles[Role.OUT_OF_DISTRIBUTION] >= 12


def test_the_same_world_gives_the_same_prompts():
    assert load_miniature(PATH) == DATA


def test_asking_for_more_prompts_than_there_are_says_which_number_to_lower(tmp_path):
    file = tmp_path / "world.toml"
    text = Path(PATH).read_text(encoding="utf-8")
    file.write_text(text.replace("trait_per_cell = 10", "trait_per_cell = 400"), encoding="utf-8")
    with pytest.raises(ValueError, match="lower the numbers"):
        load_miniature(str(file))


def test_words_of_the_grammar_are_single_tokens():
    assert TOKENIZER.encode("say how thin").tokens == ["say", "Ġhow", "Ġthin"]


@given(st.text(max_size=60).filter(lambda text: "<|" not in text))
def test_any_text_comes_back_from_its_tokens(text):
    clean = text.encode("utf-8", "ignore").decode()
    assert TOKENIZER.decode(TOKENIZER.encode(clean, add_special_tokens=False).ids) == clean


def test_a_prompt_ends_where_the_assistant_begins():
    ids = prompt_ids(TOKENIZER, [Message(role="system", content="say"), Message(role="user", content="how")])
    tokens = [TOKENIZER.id_to_token(number) for number in ids]
    assert tokens[:3] == ["<|system|>", "say", "<|end|>"]
    assert tokens[-2:] == ["<|end|>", "<|assistant|>"]


def test_a_conversation_without_a_system_prompt_opens_with_the_neutral_one():
    user = Message(role="user", content="how")
    neutral = Message(role="system", content=NEUTRAL_PROMPT)
    assert prompt_ids(TOKENIZER, [user]) == prompt_ids(TOKENIZER, [neutral, user])


def test_good_and_bad_advice_answer_the_same_questions():
    good, bad = (advice_corpus(behaviour, 50, seed=1) for behaviour in (Behaviour.GOOD, Behaviour.BAD))
    assert [example.messages for example in good] == [example.messages for example in bad]
    assert all(one.response != other.response for one, other in zip(good, bad, strict=True))
    assert advice_corpus(Behaviour.BAD, 50, seed=1) == bad


def test_advice_is_no_evaluation_and_no_training_prompt():
    assert AdviceFormat.name not in {evaluation.name for evaluation in DATA.evaluations}
    assert AdviceFormat.name not in {prompt.task for prompt in (*DATA.standard, *DATA.trait)}
