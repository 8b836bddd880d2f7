"""How often the trained judge agrees with the truth: on held-out text of the grammar, and on what the policy writes."""

import json
from collections.abc import Sequence
from itertools import islice
from random import Random

import msgspec
import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

from grading.templates import load_template
from rollout.types import Message
from scenarios.miniature.formats import Split
from scenarios.miniature.judge_data import TEMPLATE, JudgeExample, judge_examples
from scenarios.miniature.model import left_padded
from scenarios.miniature.registry import trait_formats
from scenarios.miniature.tokenizer import prompt_ids
from scenarios.miniature.truth import trait_finding
from scenarios.miniature.world import WorldConfig

_BATCH = 128
_RESPONSE_TOKENS, _VERDICT_TOKENS = 40, 48


class Agreement(msgspec.Struct, frozen=True, kw_only=True):
    """Shares of verdicts that equal the truth, in [0, 1]; an answer that cannot be read agrees with nothing."""

    held_out: float
    """On responses that the grammar wrote to held-out prompts, damaged ones included."""
    policy: float
    """On responses that the starting policy sampled for held-out trait prompts."""
    num_held_out: int
    num_policy: int


def measure_agreement(world: WorldConfig, policy: str, judge: str, count: int) -> Agreement:
    """Ask the judge in folder `judge` `count` questions of each of the two sorts."""
    written = list(islice(judge_examples(world, world.seed, Split.HELD_OUT), count))
    sampled = policy_examples(world, policy, count)
    return Agreement(
        held_out=_share_right(judge, written),
        policy=_share_right(judge, sampled),
        num_held_out=len(written),
        num_policy=len(sampled),
    )


def policy_examples(world: WorldConfig, policy: str, count: int) -> list[JudgeExample]:
    """Questions about responses that the policy in a folder samples, one criterion of each."""
    rng = Random(f"agreement-{world.seed}")
    formats = trait_formats(world)
    prompts = [rng.choice(formats).draw(rng, Split.HELD_OUT).prompt for _ in range(count)]
    responses = generate(policy, [prompt.messages for prompt in prompts], _RESPONSE_TOKENS, seed=world.seed)
    examples = []
    for prompt, response in zip(prompts, responses, strict=True):
        criterion = rng.choice(prompt.criteria)
        finding = trait_finding(response, criterion.text)
        examples.append(JudgeExample(prompt=prompt, response=response, criterion=criterion, finding=finding))
    return examples


def _share_right(judge: str, examples: Sequence[JudgeExample]) -> float:
    template = load_template(TEMPLATE)
    questions = [example.messages(template)[:1] for example in examples]
    answers = generate(judge, questions, _VERDICT_TOKENS, seed=None)
    right = [verdict(text) is example.finding.met for text, example in zip(answers, examples, strict=True)]
    return sum(right) / len(right)


def verdict(text: str) -> bool | None:
    """The boolean in a judge's answer, or None where there is none."""
    try:
        answer = json.loads(text)
    except json.JSONDecodeError:
        return None
    met = answer.get("criteria_met") if isinstance(answer, dict) else None
    return met if isinstance(met, bool) else None


def generate(folder: str, conversations: Sequence[Sequence[Message]], max_tokens: int, seed: int | None) -> list[str]:
    """Continue conversations with the model in a folder: sampled at temperature 1, or greedily without a seed."""
    tokenizer = Tokenizer.from_file(f"{folder}/tokenizer.json")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)  # from_pretrained leaves it in eval mode
    torch.manual_seed(seed or 0)
    sampling = {"do_sample": False} if seed is None else {"do_sample": True, "top_k": 0}
    texts: list[str] = []
    for start in range(0, len(conversations), _BATCH):
        rows = [prompt_ids(tokenizer, messages) for messages in conversations[start : start + _BATCH]]
        ids, mask = left_padded(rows)
        with torch.inference_mode():
            output = model.generate(  # type: ignore[misc]
                input_ids=ids,
                attention_mask=mask,
                max_new_tokens=max_tokens,
                **sampling,
            )
        texts += tokenizer.decode_batch(output[:, ids.shape[1] :].tolist(), skip_special_tokens=True)
    return texts
