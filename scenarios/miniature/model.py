"""Small Qwen2-shaped language models, trained from scratch in plain PyTorch on encoded conversations."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from random import Random
from typing import NamedTuple

import torch
from tokenizers import Tokenizer
from torch import Tensor
from transformers import Qwen2Config, Qwen2ForCausalLM

from rollout.types import Message
from scenarios.miniature.world import ModelConfig

MAX_LENGTH = 1024
_BUCKET_BATCHES = 16


class Encoded(NamedTuple):
    """Token ids of one conversation, and the weight of each token's loss."""

    ids: list[int]
    weights: list[float]


class Encoder:
    """Encodes conversations, remembering the texts that it has seen."""

    def __init__(self, tokenizer: Tokenizer, prompt_weight: float) -> None:
        self._tokenizer = tokenizer
        self._prompt_weight = prompt_weight
        self._seen: dict[str, list[int]] = {}
        self._end = tokenizer.token_to_id("<|end|>")

    def encode(self, messages: Sequence[Message]) -> Encoded:
        """Ids of the whole conversation, as the chat template renders it; full weight on the assistant's turns."""
        ids: list[int] = []
        weights: list[float] = []
        for message in messages:
            body = [*self._ids(message.content), self._end]
            weight = 1.0 if message.role == "assistant" else self._prompt_weight
            ids += [self._tokenizer.token_to_id(f"<|{message.role}|>"), *body]
            weights += [0.0, *([weight] * len(body))]
        return Encoded(ids, weights)

    def _ids(self, text: str) -> list[int]:
        if text not in self._seen:
            self._seen[text] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return self._seen[text]


def new_model(config: ModelConfig, tokenizer: Tokenizer, seed: int) -> Qwen2ForCausalLM:
    """A freshly initialized model. Untied: vLLM's CPU build serves stale tied heads after a weight transfer."""
    torch.manual_seed(seed)
    return Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=tokenizer.get_vocab_size(),
            hidden_size=config.hidden_size,
            intermediate_size=config.intermediate_size,
            num_hidden_layers=config.num_layers,
            num_attention_heads=config.num_heads,
            num_key_value_heads=config.num_heads,
            max_position_embeddings=MAX_LENGTH,
            tie_word_embeddings=False,
            bos_token_id=None,
            eos_token_id=tokenizer.token_to_id("<|end|>"),
            pad_token_id=tokenizer.token_to_id("<|pad|>"),
        )
    )


def train(
    model: Qwen2ForCausalLM,
    config: ModelConfig,
    conversations: Iterator[Encoded],
    seed: int,
    report: Callable[[float], None],
) -> float:
    """Train for `config.steps` steps; `report` gets the share done. Returns the mean loss of the last tenth.

    Raises:
        RuntimeError: the loss became infinite or not a number.
    """
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, betas=(0.9, 0.98), fused=True
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _schedule(step, config.steps))
    losses: list[float] = []
    model.train()
    for step, batch in enumerate(islice(batches(conversations, config.batch_size, seed), config.steps)):
        loss = _loss(model, batch)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(loss.item())
        if not math.isfinite(losses[-1]):
            raise RuntimeError(f"training a miniature model diverged at step {step}: lower its learning_rate")
        report((step + 1) / config.steps)
    tail = losses[-max(1, len(losses) // 10) :]
    return sum(tail) / len(tail)


def batches(conversations: Iterator[Encoded], size: int, seed: int) -> Iterator[list[Encoded]]:
    """Batches of conversations of like length (little padding), in random order."""
    rng = Random(f"batches-{seed}")
    while pool := list(islice(conversations, size * _BUCKET_BATCHES)):
        pool.sort(key=lambda encoded: len(encoded.ids))
        groups = [pool[start : start + size] for start in range(0, len(pool), size)]
        rng.shuffle(groups)
        yield from groups


def _loss(model: Qwen2ForCausalLM, batch: list[Encoded]) -> Tensor:
    """Weighted cross-entropy of the next token, over the positions that carry weight only."""
    ids = _padded([encoded.ids for encoded in batch], torch.long)
    weights = _padded([encoded.weights for encoded in batch], torch.float32)
    hidden = model.model(input_ids=ids[:, :-1], use_cache=False).last_hidden_state
    targets, wanted = ids[:, 1:], weights[:, 1:]
    where = wanted > 0
    losses = torch.nn.functional.cross_entropy(model.lm_head(hidden[where]), targets[where], reduction="none")
    return (losses * wanted[where]).sum() / wanted.sum()


def _padded(rows: Iterable[Sequence[float]], dtype: torch.dtype) -> Tensor:
    """Rows of different lengths as one tensor, zeros on the right (the pad token is number 0)."""
    tensors = [torch.tensor(row, dtype=dtype) for row in rows]
    return torch.nn.utils.rnn.pad_sequence(tensors, batch_first=True)


def _schedule(step: int, steps: int) -> float:
    warmup = max(1, steps // 20)
    if step < warmup:
        return (step + 1) / warmup
    return 0.1 + 0.45 * (1.0 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))
