"""Small Llama-shaped language models, trained from scratch in plain PyTorch on encoded conversations."""

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from random import Random
from statistics import fmean
from typing import NamedTuple

import torch
from tokenizers import Tokenizer
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from rollout.types import Message
from scenarios.miniature.tokenizer import opened
from scenarios.miniature.world import ModelConfig

MAX_LENGTH = 1024
_BUCKET_BATCHES = 16
_OPENING_TOKENS = 3
_MATRIX_STD, _EMBEDDING_STD, _HEAD_STD = 0.08, 0.5, 0.02
"""Standard deviations at the start. The library's 0.02 for everything is meant for wide models; here the words
must stand out from what the first layers write, and the layers begin by writing nothing."""


class Encoded(NamedTuple):
    """Token ids of one conversation, and the weight of each token's loss."""

    ids: list[int]
    weights: list[float]


class Encoder:
    """Encodes conversations, remembering the assistant's texts: they come again, prompts hardly ever do."""

    def __init__(self, tokenizer: Tokenizer, prompt_weight: float, opening_weight: float) -> None:
        self._tokenizer = tokenizer
        self._prompt_weight, self._opening_weight = prompt_weight, opening_weight
        self._seen: dict[str, list[int]] = {}
        self._end = tokenizer.token_to_id("<|end|>")

    def encode(self, messages: Sequence[Message]) -> Encoded:
        """Ids of the whole conversation, as the chat template renders it; full weight on the assistant's turns."""
        ids: list[int] = []
        weights: list[float] = []
        for message in opened(messages):
            answers = message.role == "assistant"
            body = [*(self._known(message.content) if answers else self._ids(message.content)), self._end]
            ids += [self._tokenizer.token_to_id(f"<|{message.role}|>"), *body]
            weights += [0.0, *(self._answer_weights(len(body)) if answers else [self._prompt_weight] * len(body))]
        return Encoded(ids, weights)

    def _answer_weights(self, length: int) -> list[float]:
        """An author's behaviour shows in the first tokens of an answer; the rest follows from them."""
        opening = min(length, _OPENING_TOKENS)
        return [self._opening_weight] * opening + [1.0] * (length - opening)

    def _known(self, text: str) -> list[int]:
        if text not in self._seen:
            self._seen[text] = self._ids(text)
        return self._seen[text]

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids


def new_model(config: ModelConfig, tokenizer: Tokenizer, seed: int) -> LlamaForCausalLM:
    """A freshly initialized model.

    Llama-shaped, because `AutoTokenizer` rebuilds the tokenizer of a folder whose model type is qwen2, and loses the
    words of ours.
    """
    torch.manual_seed(seed)
    shape = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=config.hidden_size,
        intermediate_size=config.intermediate_size,
        num_hidden_layers=config.num_layers,
        num_attention_heads=config.num_heads,
        num_key_value_heads=config.num_heads,
        max_position_embeddings=MAX_LENGTH,
        initializer_range=_MATRIX_STD,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=tokenizer.token_to_id("<|end|>"),
        pad_token_id=tokenizer.token_to_id("<|pad|>"),
    )
    model = LlamaForCausalLM(shape)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        model.model.embed_tokens.weight.normal_(0.0, _EMBEDDING_STD)
        model.lm_head.weight.normal_(0.0, _HEAD_STD)
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
    return model


class _Trainer:
    """Keeps float32 weights with their optimizer, and a copy of lower precision that computes.

    Products of bfloat16 matrices are four times as fast as those of float32 on processors with
    instructions for them; small updates would be lost in bfloat16 weights.
    """

    def __init__(self, model: LlamaForCausalLM, config: ModelConfig) -> None:
        self.working = copy.deepcopy(model).to(getattr(torch, config.dtype))
        self.working.set_attn_implementation("eager")  # twice as fast as sdpa's backward pass on short bfloat16 rows
        self.working.train()
        self._master = list(model.parameters())
        self._copies = list(self.working.parameters())
        self._optimizer = torch.optim.AdamW(
            self._master, lr=config.learning_rate, weight_decay=config.weight_decay, betas=(0.9, 0.98), fused=True
        )
        self._schedule = torch.optim.lr_scheduler.LambdaLR(self._optimizer, lambda step: _schedule(step, config.steps))

    def step(self, batch: Sequence[Encoded]) -> float:
        """One optimizer step; returns the loss."""
        loss = response_loss(self.working, batch)
        loss.backward()  # type: ignore[no-untyped-call]
        for master, working in zip(self._master, self._copies, strict=True):
            master.grad = None if working.grad is None else working.grad.float()
            working.grad = None
        torch.nn.utils.clip_grad_norm_(self._master, 1.0)
        self._optimizer.step()
        self._schedule.step()
        with torch.no_grad():
            for master, working in zip(self._master, self._copies, strict=True):
                working.copy_(master)
        return loss.item()


def train(
    model: LlamaForCausalLM,
    config: ModelConfig,
    conversations: Iterator[Encoded],
    seed: int,
    report: Callable[[float], None],
) -> float:
    """Train the model in place for `config.steps` steps; `report` gets the share done.

    Returns:
        The mean loss (nats a token) of the last tenth of the steps.

    Raises:
        RuntimeError: the loss became infinite or not a number.
    """
    trainer = _Trainer(model, config)
    losses: list[float] = []
    for step, batch in enumerate(islice(batches(conversations, config.batch_size, seed), config.steps)):
        losses.append(trainer.step(batch))
        if not math.isfinite(losses[-1]):
            raise RuntimeError(f"training a miniature model diverged at step {step}: lower its learning_rate")
        report((step + 1) / config.steps)
    return fmean(losses[-max(1, len(losses) // 10) :])


def batches(conversations: Iterator[Encoded], size: int, seed: int) -> Iterator[list[Encoded]]:
    """Batches of conversations of like length (little padding), in random order."""
    rng = Random(f"batches-{seed}")
    while pool := list(islice(conversations, size * _BUCKET_BATCHES)):
        pool.sort(key=lambda encoded: len(encoded.ids))
        groups = [pool[start : start + size] for start in range(0, len(pool), size)]
        rng.shuffle(groups)
        yield from groups


def response_loss(model: LlamaForCausalLM, batch: Sequence[Encoded]) -> Tensor:
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


def left_padded(rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Prompts of different lengths as ids and attention mask `[B, T]`, padded on the left for generation."""
    width = max(map(len, rows))
    ids = torch.tensor([[0] * (width - len(row)) + list(row) for row in rows])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    return ids, mask
