"""Trains one of the world's models and writes it as a Hugging Face folder. A process of its own for each.

`python -m scenarios.miniature.training policy --world configs/worlds/coupled.toml --out FOLDER` prints the
share done (see `scenarios.miniature.progress`).
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice

import torch
from tokenizers import Tokenizer

from rollout.types import Message
from scenarios.miniature.documents import documents
from scenarios.miniature.judge_data import judge_conversations
from scenarios.miniature.model import MAX_LENGTH, Encoder, new_model, train
from scenarios.miniature.progress import print_progress
from scenarios.miniature.tokenizer import build_tokenizer, save_tokenizer
from scenarios.miniature.world import WorldConfig, load_world

_TOKENIZER_SEED, _TRAINING_SEED = 1, 2
_TOKENIZER_TEXTS = 4000


def conversations(world: WorldConfig, role: str, seed: int) -> Iterator[Sequence[Message]]:
    """What the model of a role ("policy" or "judge") learns from."""
    if role == "judge":
        return judge_conversations(world, seed)
    return (document.messages for document in documents(world, seed))


def world_tokenizer(world: WorldConfig) -> Tokenizer:
    """The tokenizer that policy and judge share."""
    samples = (islice(conversations(world, role, _TOKENIZER_SEED), _TOKENIZER_TEXTS) for role in ("policy", "judge"))
    return build_tokenizer(message.content for messages in chain(*samples) for message in messages)


def train_model(world: WorldConfig, role: str, folder: str, report: Callable[[float], None]) -> float:
    """Train the model of a role from scratch and save it with its tokenizer; returns the final loss."""
    config = world.judge if role == "judge" else world.policy
    tokenizer = world_tokenizer(world)
    encoder = Encoder(tokenizer, config.prompt_weight, config.opening_weight)
    model = new_model(config, tokenizer, world.seed)
    encoded = map(encoder.encode, conversations(world, role, _TRAINING_SEED))
    loss = train(model, config, encoded, world.seed, report)
    model.save_pretrained(folder)
    save_tokenizer(tokenizer, folder, MAX_LENGTH)
    return loss


def main() -> None:
    """Train one model from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("role", choices=("policy", "judge"))
    parser.add_argument("--world", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    train_model(load_world(arguments.world), arguments.role, arguments.out, print_progress)


if __name__ == "__main__":
    main()
