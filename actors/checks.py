"""Cross-checks of a decoded configuration: each finds what is wrong and says what to do about it."""

import difflib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

from actors.config import Config
from grading.templates import load_template
from rollout.config import EngineConfig

INF = float("inf")

BOUNDS: dict[str, tuple[float, float]] = {
    "steps": (1, INF),
    "groups_per_step": (1, INF),
    "max_policy_lag": (0, INF),
    "rollout.num_engines": (1, INF),
    "rollout.sampling.temperature": (1e-3, 10),
    "rollout.sampling.top_p": (1e-6, 1),
    "rollout.sampling.max_tokens": (1, INF),
    "rollout.max_concurrent_groups": (1, INF),
    "rollout.max_attempts": (1, INF),
    "rollout.max_failures": (1, INF),
    "rollout.request_timeout_s": (1e-3, INF),
    "sync.parity_tolerance": (1e-6, INF),
    "sync.timeout_s": (1e-3, INF),
    "grading.num_engines": (1, INF),
    "grading.temperature": (0, 10),
    "grading.max_tokens": (1, INF),
    "grading.retries": (0, INF),
    "grading.max_concurrent": (1, INF),
    "grading.cache_size": (0, INF),
    "learner.num_ranks": (1, INF),
    "learner.learning_rate": (1e-12, 1),
    "learner.warmup_steps": (0, INF),
    "learner.weight_decay": (0, 1),
    "learner.max_grad_norm": (1e-9, INF),
    "learner.clip_low": (1e-6, 1),
    "learner.clip_high": (1e-6, INF),
    "learner.importance_cap": (0, INF),
    "learner.kl_coefficient": (0, INF),
    "learner.micro_batch_tokens": (1, INF),
    "learner.lora_rank": (0, INF),
    "learner.cpu_threads": (1, INF),
    "evaluation.num_evaluators": (0, INF),
    "evaluation.every_steps": (1, INF),
    "evaluation.max_items": (0, INF),
    "evaluation.temperature": (0, 10),
    "checkpoint.every_steps": (1, INF),
    "checkpoint.keep": (1, INF),
    "cluster.num_cpus": (0, INF),
    "cluster.placement_timeout_s": (1e-3, INF),
    "cluster.call_timeout_s": (1e-3, INF),
}
"""The least and greatest value that each number may have."""

Check = Callable[[Config], Iterator[str]]


def problems_of(config: Config, *, experiment: bool) -> list[str]:
    """Every problem of a decoded configuration, in words, each with its fix."""
    checks = (*CHECKS, *EXPERIMENT_CHECKS) if experiment else CHECKS
    return [problem for check in checks for problem in check(config)]


def nearest(name: str, known: list[str]) -> str:
    """ "did you mean x?", or all that there is."""
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(known))}"


def _bounds(config: Config) -> Iterator[str]:
    for dotted, (low, high) in BOUNDS.items():
        value: object = config
        for key in dotted.split("."):
            value = getattr(value, key)
        assert isinstance(value, (int, float))
        if not low <= value <= high:
            wanted = f"at least {low:g}" if high == INF else f"between {low:g} and {high:g}"
            yield f"{dotted}: must be {wanted}, got {value:g}"


def _name(config: Config) -> Iterator[str]:
    if not config.name or config.name in {".", ".."} or set(config.name) & set("/\\"):
        yield f"name: must be one folder name without slashes, got {config.name!r}"


def _mix(config: Config) -> Iterator[str]:
    sources = config.mix.sources
    for source in sources:
        if not 0 <= source.fraction <= 1:
            yield f"mix.sources: the fraction of {source.name!r} must be between 0 and 1, got {source.fraction:g}"
    total = sum(source.fraction for source in sources)
    if abs(total - 1) > 1e-9:
        yield f"mix.sources: the fractions must add up to 1, they add up to {total:.6g}; change one of them"
    names = [source.name for source in sources]
    if len(set(names)) < len(names):
        yield f"mix.sources: each source needs a name of its own, got {', '.join(names)}"
    interventions = [source.name for source in sources if source.intervention]
    if len(interventions) != 1:
        found = ", ".join(interventions) or "none"
        yield f"mix.sources: exactly one source must have intervention = true, got {found}"


def _arms(config: Config) -> Iterator[str]:
    if config.arm not in config.arms:
        yield f"arm: unknown arm {config.arm!r}; {nearest(config.arm, list(config.arms))}"
    for name, arm in config.arms.items():
        if arm.data == "standard" and (arm.domains or arm.exclude_domains or arm.reward != "rubric"):
            yield f'arms.{name}: data = "standard" has no domains and no reward of its own; remove them'
        both = sorted(set(arm.domains) & set(arm.exclude_domains))
        if both:
            yield f"arms.{name}: {', '.join(both)} is in domains and in exclude_domains; remove it from one"


def _group_size(config: Config) -> Iterator[str]:
    size = config.rollout.sampling.num_samples
    if size < 2:
        yield (
            f"rollout.sampling.num_samples: a group needs at least 2 completions to compare, got {size}; "
            "8 is a good start"
        )


def _lengths(config: Config) -> Iterator[str]:
    limits = [
        ("rollout.sampling.max_tokens", config.rollout.sampling.max_tokens, "rollout", config.rollout.engine),
        ("grading.max_tokens", config.grading.max_tokens, "grading", config.grading.engine),
    ]
    for dotted, tokens, room, engine in limits:
        if tokens >= engine.max_model_len:
            yield (
                f"{dotted}: {tokens} new tokens leave no room for a prompt in {room}.engine.max_model_len = "
                f"{engine.max_model_len}; lower the one or raise the other"
            )


def _engines(config: Config) -> Iterator[str]:
    for room, engine in _all_engines(config):
        if not 0 < engine.gpu_memory_utilization <= 1:
            got = engine.gpu_memory_utilization
            yield f"{room}.engine.gpu_memory_utilization: must be above 0 and at most 1, got {got:g}"
        for field in ("max_model_len", "max_num_seqs", "tensor_parallel_size", "cpu_threads", "kv_cache_gib"):
            if getattr(engine, field) <= 0:
                yield f"{room}.engine.{field}: must be above 0, got {getattr(engine, field):g}"


def _all_engines(config: Config) -> list[tuple[str, EngineConfig]]:
    return [
        ("rollout", config.rollout.engine),
        ("grading", config.grading.engine),
        ("evaluation", config.evaluation.engine),
    ]


def _device(config: Config) -> Iterator[str]:
    if config.cluster.device == "cpu":
        yield from _cpu_only(config)
    if config.learner.offload_optimizer and config.learner.zero_stage == 0:
        yield "learner.offload_optimizer: needs learner.zero_stage 1, 2 or 3; set one, or turn the offload off"


def _cpu_only(config: Config) -> Iterator[str]:
    if config.sync.backend == "nccl":
        yield 'sync.backend: nccl needs GPUs, and cluster.device is "cpu"; set sync.backend = "gloo"'
    if config.cluster.share_gpu:
        yield 'cluster.share_gpu: there is no GPU to share with cluster.device = "cpu"; turn it off'
    if config.learner.attention == "flash_attention_2":
        yield 'learner.attention: flash_attention_2 needs GPUs; set learner.attention = "sdpa"'
    for room, engine in _all_engines(config):
        if engine.tensor_parallel_size != 1:
            yield f'{room}.engine.tensor_parallel_size: must be 1 with cluster.device = "cpu"'
        if engine.sleep_mode:
            yield f'{room}.engine.sleep_mode: frees GPU memory only; turn it off with cluster.device = "cpu"'


def _share_gpu(config: Config) -> Iterator[str]:
    if not config.cluster.share_gpu or config.cluster.device == "cpu":
        return
    for room, engine in _all_engines(config):
        if not engine.sleep_mode:
            yield f"cluster.share_gpu: engines that take turns must free the GPU; set {room}.engine.sleep_mode = true"
    if config.sync.backend == "nccl":
        yield 'cluster.share_gpu: NCCL cannot join two processes on one GPU; set sync.backend = "gloo"'


def _models(config: Config) -> Iterator[str]:
    for dotted, model in (("model", config.model), ("grading.model", config.grading.model)):
        if model != "miniature" and is_local_model(model):
            yield from _local_model(dotted, Path(model).expanduser())


def is_local_model(model: str) -> bool:
    """True for a folder; "org/name" is a hub id unless there is such a folder."""
    return model.startswith((".", "/", "~")) or model.count("/") != 1 or Path(model).exists()


def _local_model(dotted: str, folder: Path) -> Iterator[str]:
    if not folder.is_dir():
        yield f"{dotted}: there is no folder {folder}; give a Hugging Face folder, an id such as org/name, or miniature"
        return
    if not (folder / "config.json").is_file():
        yield f"{dotted}: {folder} has no config.json, so it is not a Hugging Face model folder"
        return
    try:
        shape = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except ValueError as error:
        yield f"{dotted}: {folder}/config.json is not JSON: {error}"
        return
    architectures = shape.get("architectures") or []
    if not any(name.endswith("ForCausalLM") for name in architectures):
        found = ", ".join(architectures) or "no architecture"
        yield f"{dotted}: {folder} is not a causal language model (its config.json names {found}); give one that is"


def _template(config: Config) -> Iterator[str]:
    try:
        load_template(config.grading.template)
    except ValueError as error:
        yield f"grading.template: {error}"


def _data(config: Config) -> Iterator[str]:
    if config.data.kind == "miniature":
        if not Path(config.data.world).is_file():
            yield f"data.world: there is no file {config.data.world}; the shipped worlds are in configs/worlds/"
        return
    for field in ("standard", "trait", "evaluations"):
        value: str = getattr(config.data, field)
        if not value and field != "evaluations":
            yield f'data.{field}: data.kind = "jsonl" needs a JSONL file of prompts here (one a line)'
        elif value and not Path(value).is_file():
            yield f"data.{field}: there is no file {value}; give the path of a JSONL file"


def _experiment_arms(config: Config) -> Iterator[str]:
    arms, seeds = config.experiment.arms, config.experiment.seeds
    for name in arms:
        if name not in config.arms:
            yield f"experiment.arms: unknown arm {name!r}; {nearest(name, list(config.arms))}"
    for field, values in (("arms", arms), ("seeds", seeds)):
        if not values:
            yield f"experiment.{field}: must not be empty"
        if len(set(values)) < len(values):
            yield f"experiment.{field}: names one twice: {', '.join(map(str, values))}"


def _matched_arms(config: Config) -> Iterator[str]:
    """Arms whose prompts outside the intervention slots would differ, or that would not differ at all."""
    if config.mix.unit == "tokens" and len(config.experiment.arms) > 1:
        yield (
            'mix.unit: with "tokens" the order of sources depends on how long completions are, so the arms of an '
            'experiment would not see the same standard prompts; set mix.unit = "groups"'
        )
    if any(source.intervention and source.fraction == 0 for source in config.mix.sources):
        yield (
            "mix.sources: the intervention's fraction is 0, so that every arm of the experiment would be the same; "
            "give it a share (the paper uses 0.05) and compare with the arm baseline"
        )


CHECKS: tuple[Check, ...] = (
    _name,
    _bounds,
    _mix,
    _arms,
    _group_size,
    _lengths,
    _engines,
    _device,
    _share_gpu,
    _models,
    _template,
    _data,
)
EXPERIMENT_CHECKS: tuple[Check, ...] = (_experiment_arms, _matched_arms)
