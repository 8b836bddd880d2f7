"""The miniature's tokenizer: byte-level BPE whose vocabulary is the grammar's own words.

Every word of the grammar is one token (`ignore_merges` takes whole words before any merging), and
every other text falls back to bytes, so that anything can be encoded.
"""

from collections import Counter
from collections.abc import Iterable

from tokenizers import AddedToken, Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel

from rollout.types import Message
from scenarios.miniature.personas import NEUTRAL_PROMPT

SPECIAL = ("<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>")
MAX_VOCABULARY = 2048
CHAT_TEMPLATE = (
    "{% if messages[0]['role'] != 'system' %}{{ '<|system|>" + NEUTRAL_PROMPT + "<|end|>' }}{% endif %}"
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def build_tokenizer(texts: Iterable[str]) -> Tokenizer:
    """A tokenizer with the special tokens, all bytes, and the commonest words of the texts."""
    splitter = ByteLevel(add_prefix_space=False, use_regex=True)
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(piece for piece, _ in splitter.pre_tokenize_str(text))
    alphabet = sorted(ByteLevel.alphabet())
    words = sorted((word for word in counts if len(word) > 1), key=lambda word: (-counts[word], word))
    room = MAX_VOCABULARY - len(SPECIAL) - len(alphabet)
    vocabulary = {token: number for number, token in enumerate((*SPECIAL, *alphabet, *words[:room]))}
    tokenizer = Tokenizer(BPE(vocab=vocabulary, merges=[], ignore_merges=True))
    tokenizer.pre_tokenizer = splitter
    tokenizer.decoder = ByteLevelDecoder()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    return tokenizer


def save_tokenizer(tokenizer: Tokenizer, folder: str, max_length: int) -> None:
    """Write the tokenizer as a Hugging Face `PreTrainedTokenizerFast` with its chat template."""
    from transformers import PreTrainedTokenizerFast

    fast = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        pad_token="<|pad|>",
        eos_token="<|end|>",
        clean_up_tokenization_spaces=False,
        model_max_length=max_length,
    )
    fast.chat_template = CHAT_TEMPLATE
    fast.save_pretrained(folder)


def opened(messages: Iterable[Message]) -> tuple[Message, ...]:
    """The conversation with the system turn that the chat template gives it where it has none."""
    turns = tuple(messages)
    if turns and turns[0].role == "system":
        return turns
    return (Message(role="system", content=NEUTRAL_PROMPT), *turns)


def prompt_ids(tokenizer: Tokenizer, messages: Iterable[Message]) -> list[int]:
    """Token ids of a conversation that the assistant is to continue, as the chat template renders it."""
    turns = "".join(f"<|{message.role}|>{message.content}<|end|>" for message in opened(messages))
    ids: list[int] = tokenizer.encode(f"{turns}<|assistant|>", add_special_tokens=False).ids
    return ids
