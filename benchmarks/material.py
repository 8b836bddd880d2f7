"""Models and prompts that the benchmark makes itself: random weights, made-up words, a check that costs nothing.

Two properties make the systems comparable:

- A completion has exactly `new_tokens` tokens: the end-of-turn token's id is the first one outside of the model's
  vocabulary, so that the tokenizer knows it and no model can sample it.
- Rewards vary: words are rows of symbols that end in a full stop or in an exclamation mark, and an answer is right
  when a full stop comes first. A random model is right about half of the time, so that few groups have equal rewards.
"""

import random
from itertools import product
from pathlib import Path

import msgspec

from benchmarks.workloads import PROMPT_WORDS, VOCABULARY, ModelSpec
from grading.types import Check, Criterion
from rollout.types import Message, Prompt

SPECIAL_TOKENS = ("<pad>", "<user>", "<assistant>")
END = "<end>"
CHAT_TEMPLATE = (
    "{% for message in messages %}<{{ message['role'] }}>{{ message['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
CHECK = Check(kind="choice", expected=".|.,!")


def words() -> list[str]:
    """All words. No letters or digits: a check then finds a mark wherever it stands, not only between words."""
    return ["".join(symbols) for symbols in product("+-*/=~^&%$#@", "+-*/=~^&%$#@", "+-*/=~^&%$#@", ".!")]


def write_model(spec: ModelSpec, folder: Path) -> int:
    """Write a random model and its tokenizer to a folder; the number of its parameters."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    config = Qwen2Config(
        vocab_size=VOCABULARY,
        hidden_size=spec.hidden_size,
        intermediate_size=spec.intermediate_size,
        num_hidden_layers=spec.num_layers,
        num_attention_heads=spec.num_heads,
        num_key_value_heads=spec.num_kv_heads,
        max_position_embeddings=1024,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=0,
    )
    torch.manual_seed(0)
    model = Qwen2ForCausalLM(config).to(torch.bfloat16)
    model.save_pretrained(folder)
    _write_tokenizer(folder)
    return model.num_parameters()


def _write_tokenizer(folder: Path) -> None:
    """Byte-level BPE, as Qwen2's: whatever else a Qwen2 folder holds, `AutoTokenizer` reads it as that."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=list(SPECIAL_TOKENS), initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([" ".join(words())], trainer)
    tokenizer.add_special_tokens([END])
    assert tokenizer.token_to_id(END) == VOCABULARY
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token="<pad>",
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    ).save_pretrained(folder)


def write_prompts(number: int, path: Path) -> list[Prompt]:
    """Write `number` different prompts of about equal length as a JSONL file; and return them."""
    draw, known = random.Random(0), words()
    prompts = [_prompt(index, " ".join(draw.choices(known, k=PROMPT_WORDS))) for index in range(number)]
    _write(path, prompts)
    return prompts


def write_trait_prompt(path: Path) -> None:
    """Write one trait prompt, which a run must have and the baseline arm does not train on."""
    message = Message(role="user", content=" ".join(words()[:PROMPT_WORDS]))
    criterion = Criterion(text="answers", points=1.0)
    _write(path, [Prompt(prompt_id="trait", family="trait", messages=(message,), criteria=(criterion,))])


def _prompt(index: int, content: str) -> Prompt:
    name = f"prompt-{index}"
    return Prompt(prompt_id=name, family=name, messages=(Message(role="user", content=content),), check=CHECK)


def _write(path: Path, prompts: list[Prompt]) -> None:
    path.write_bytes(b"".join(msgspec.json.encode(prompt) + b"\n" for prompt in prompts))
