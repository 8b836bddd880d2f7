"""A tiny Qwen2-shaped model with random weights and its own tokenizer, for tests of the real engines.

The weights are drawn wider than usual (`initializer_range`), so that log-probabilities are far from
uniform and a stale or garbled tensor shows up as a large difference.
"""

from pathlib import Path

import torch
from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CORPUS = (
    "what is 2 plus 3 ? the sum is 5 .",
    "the quick brown fox jumps over the lazy dog and runs back to its den",
    'system user assistant {"met": true, "reason": "the answer names the risk"}',
)


def make_tiny_tokenizer(vocab_size: int = 320) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer (it can write any text) with a ChatML template."""
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.decoder = ByteLevelDecoder()
    trainer = BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )


def make_tiny_model(
    path: str | Path,
    tied: bool = False,
    *,
    hidden_size: int = 128,
    num_layers: int = 4,
    vocab_size: int = 320,
    seed: int = 0,
    initializer_range: float = 0.04,
    dtype: torch.dtype = torch.bfloat16,
) -> Path:
    """Write a random model (about 1 M parameters by default) and its tokenizer to a folder.

    Args:
        path: The folder; made when missing.
        tied: Whether input and output embeddings are one tensor.
        vocab_size: Rows of the embedding, at least the 320 of the tokenizer.
        initializer_range: Standard deviation of the random weights.
    """
    tokenizer = make_tiny_tokenizer()
    config = Qwen2Config(
        vocab_size=vocab_size,
        hidden_size=hidden_size,
        intermediate_size=3 * hidden_size,
        num_hidden_layers=num_layers,
        num_attention_heads=hidden_size // 32,
        num_key_value_heads=max(1, hidden_size // 64),
        max_position_embeddings=1024,
        tie_word_embeddings=tied,
        initializer_range=initializer_range,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
    )
    torch.manual_seed(seed)
    model = Qwen2ForCausalLM(config).to(dtype)
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return Path(path)
