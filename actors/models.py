"""Which model folders a configuration means, the judge's name, and the tokens that weights are probed with."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from actors.config import Config
from actors.memory import shape_of
from learner.checkpoint import CheckpointError, content_hash
from rollout.types import Prompt

if TYPE_CHECKING:
    from scenarios.miniature.bootstrap import Bootstrapped

PROBE_TOKENS = 64
"""Length of the probe. Long enough for a wrong weight to show, short enough to cost nothing."""


class Models(msgspec.Struct, frozen=True, kw_only=True):
    """The models of an experiment."""

    policy: str
    """Folder or Hugging Face id."""
    judge: str
    judge_name: str
    """Name and revision of the judge, as grades and results carry it."""
    judge_words: str = ""
    """How well the miniature's judge agrees with the grammar's truth, in a sentence; empty for other judges."""


def resolve_models(config: Config, report: Callable[[str, float], None]) -> Models:
    """Find the policy and the judge; the miniature's are trained if the cache does not have them.

    `report` takes what is being done and its share done, in [0, 1].
    """
    policy, judge, words = config.model, config.grading.model, ""
    if "miniature" in (policy, judge):
        from scenarios.miniature.bootstrap import bootstrap

        made = bootstrap(config.data.world, config.cache_dir, report)
        words = _judge_words(made) if judge == "miniature" else ""
        policy = made.policy_path if policy == "miniature" else policy
        judge = made.judge_path if judge == "miniature" else judge
    name = "miniature-judge" if config.grading.model == "miniature" else Path(judge).name
    return Models(policy=str(policy), judge=str(judge), judge_name=f"{name}@{_revision(str(judge))}", judge_words=words)


def _judge_words(made: "Bootstrapped") -> str:
    return (
        f"the judge agrees with the grammar's truth on {made.judge_agreement:.1%} of verdicts on what the policy "
        f"writes, and on {made.judge_agreement_held_out:.1%} on unseen text with damaged and hostile responses in it"
    )


def _revision(model: str) -> str:
    """A local judge's content, so that another judge in the same folder has another name."""
    try:
        return content_hash(Path(model))[:8]
    except CheckpointError:
        return "hub"


def matmul_parameters(model: str) -> int:
    """Parameters that take part in a matrix product for each token: all but the input embedding; 0: unknown."""
    shape = shape_of(model)
    return int(shape.num_parameters - shape.vocabulary * shape.hidden_size) if shape else 0


def probe_tokens(model: str, prompts: Sequence[Prompt], trust_remote_code: bool) -> tuple[int, ...]:
    """Token ids of real prompts, one after another: text that the model could meet."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model, trust_remote_code=trust_remote_code)
    tokens: list[int] = []
    for prompt in prompts:
        tokens += tokenizer.encode(prompt.messages[-1].content, add_special_tokens=False)
        if len(tokens) >= PROBE_TOKENS:
            break
    return tuple(tokens[:PROBE_TOKENS])
