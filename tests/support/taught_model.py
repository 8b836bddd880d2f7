"""Tiny models that were taught to answer one of a few texts, whatever they are asked.

A random model's rollouts all fail the same way; these answer at random among known answers, so that
rewards vary and verdicts parse. Takes a few seconds each on one core.
"""

import random
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.support.tiny_model import CORPUS, make_tiny_model

STEPS = 120
BATCH = 16
ANSWER_HEAD = "<|im_start|>assistant\n"
WORDS = " ".join(CORPUS).split()


def make_taught_model(path: Path, answers: tuple[str, ...], seed: int = 0) -> Path:
    """Write a model that answers with one of `answers`, each about equally often, to the folder `path`."""
    make_tiny_model(path, seed=seed, hidden_size=64, num_layers=2, initializer_range=0.05, dtype=torch.float32)
    model, tokenizer = AutoModelForCausalLM.from_pretrained(path), AutoTokenizer.from_pretrained(path)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    draw = random.Random(seed)
    for _ in range(STEPS):
        ids, labels = _batch(tokenizer, answers, draw)
        loss = model(input_ids=ids, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.to(torch.bfloat16).save_pretrained(path)
    return path


def _batch(tokenizer, answers: tuple[str, ...], draw: random.Random) -> tuple[torch.Tensor, torch.Tensor]:
    rows = []
    for _ in range(BATCH):
        question = " ".join(draw.choices(WORDS, k=draw.randrange(2, 40)))
        head = tokenizer.encode(f"<|im_start|>user\n{question}<|im_end|>\n{ANSWER_HEAD}", add_special_tokens=False)
        tail = tokenizer.encode(f"{draw.choice(answers)}<|im_end|>", add_special_tokens=False)
        rows.append((head, tail))
    width = max(len(head) + len(tail) for head, tail in rows)
    ids = torch.full((BATCH, width), tokenizer.pad_token_id)
    labels = torch.full((BATCH, width), -100)
    for row, (head, tail) in enumerate(rows):
        ids[row, : len(head) + len(tail)] = torch.tensor(head + tail)
        labels[row, len(head) : len(head) + len(tail)] = torch.tensor(tail)
    return ids, labels
