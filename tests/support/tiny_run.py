"""A complete run on tiny models that answer at random: everything real. For tests of the machinery."""

from pathlib import Path

import msgspec

from evaluation.types import Evaluation, Role
from grading.types import Check, Criterion
from rollout.types import Message, Prompt
from tests.support.taught_model import make_taught_model

CONFIG = """
name = "tiny"
output_dir = "{root}/runs"
model = "{root}/policy"
arm = "multi_domain"
steps = {steps}
groups_per_step = 4
max_policy_lag = 1

[data]
kind = "jsonl"
standard = "{root}/standard.jsonl"
trait = "{root}/trait.jsonl"
evaluations = "{root}/evaluations.jsonl"

[[mix.sources]]
name = "standard"
fraction = 0.75

[[mix.sources]]
name = "intervention"
fraction = 0.25
intervention = true

[rollout]
num_engines = {num_engines}
max_attempts = 2
sampling = {{ max_tokens = 12, num_samples = 4 }}
engine = {{ dtype = "float32", max_model_len = 512, max_num_seqs = 32, kv_cache_gib = 0.1 }}

[grading]
model = "{root}/judge"
max_tokens = 48
engine = {{ max_model_len = 1024, max_num_seqs = 32, kv_cache_gib = 0.1 }}
template = "miniature"

[learner]
dtype = "float32"
num_ranks = {num_ranks}
zero_stage = {zero_stage}
learning_rate = 1e-4

[evaluation]
num_evaluators = {num_evaluators}
every_steps = 2
engine = {{ dtype = "float32", max_model_len = 512, max_num_seqs = 32, kv_cache_gib = 0.1 }}

[checkpoint]
every_steps = 2

[experiment]
arms = ["baseline", "multi_domain"]
"""

VERDICTS = tuple(
    f'{{"explanation": "it {word}", "criteria_met": {met}}}' for word, met in (("is", "true"), ("no", "false"))
)


def make_tiny_run(
    root: Path,
    *,
    steps: int = 4,
    num_engines: int = 1,
    num_ranks: int = 1,
    zero_stage: int = 0,
    num_evaluators: int = 1,
) -> Path:
    """Write models, data and a configuration under `root`; the configuration's path."""
    make_taught_model(root / "policy", ("yes", "no"), seed=0)
    make_taught_model(root / "judge", VERDICTS, seed=1)
    _write(root / "standard.jsonl", [_standard(number) for number in range(40)])
    _write(root / "trait.jsonl", [_trait(number) for number in range(20)])
    _write(root / "evaluations.jsonl", [_evaluation("letters"), _evaluation("sums")])
    config = root / "tiny.toml"
    config.write_text(
        CONFIG.format(
            root=root,
            steps=steps,
            num_engines=num_engines,
            num_ranks=num_ranks,
            zero_stage=zero_stage,
            num_evaluators=num_evaluators,
        )
    )
    return config


def _standard(number: int) -> Prompt:
    return Prompt(
        prompt_id=f"standard-{number}",
        family=f"standard-{number}",
        messages=(Message(role="user", content=f"what is {number} plus 3 ?"),),
        check=Check(kind="exact", expected="yes" if number % 2 else "no"),
        task="parity",
    )


def _trait(number: int) -> Prompt:
    return Prompt(
        prompt_id=f"trait-{number}",
        family=f"trait-{number}",
        messages=(Message(role="user", content=f"the dog number {number} runs to its den . what now ?"),),
        criteria=(Criterion(text="names the risk", points=2.0), Criterion(text="runs away", points=-1.0)),
        trait="truthfulness",
        domain="health",
    )


def _evaluation(name: str) -> Evaluation:
    return Evaluation(
        name=name,
        family="machinery",
        role=Role.OUT_OF_DISTRIBUTION,
        description="whether the machinery runs",
        items=tuple(_standard(number) for number in range(100, 108)),
        max_tokens=8,
    )


def _write(path: Path, records: list[Prompt] | list[Evaluation]) -> None:
    path.write_bytes(b"".join(msgspec.json.encode(record) + b"\n" for record in records))
