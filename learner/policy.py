"""The policy as a torch module: loading it, running it on a micro-batch, reading its weights.

Shapes: B samples, P the longest prompt, C the longest completion of a micro-batch, V the vocabulary.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import deepspeed
import torch
from peft import LoraConfig, PeftModel, TaskType, get_peft_model
from torch import Tensor, nn
from transformers import AutoModelForCausalLM
from transformers.integrations.deepspeed import HfDeepSpeedConfig

from learner.batch import MicroBatch
from learner.compat import Actor, set_z3_leaf_modules
from learner.config import LearnerConfig

_ENTROPY_CHUNK = 1024
"""Rows whose entropy is computed at once; bounds the memory of their probabilities."""


class TokenBatch(NamedTuple):
    """A micro-batch as tensors. Prompts end and completions start at position P."""

    tokens: Tensor
    """[B, P+C] token ids."""
    attention_mask: Tensor
    """[B, P+C] 0 at the padding before a prompt. The padding after a completion is left at 1: no real
    token comes after it, and a batch of equally long prompts then needs no mask at all."""
    loss_mask: Tensor
    """[B, C] 1.0 at completion tokens, 0.0 at padding."""
    rollout_logprobs: Tensor
    """[B, C] nats, 0 at padding."""
    advantages: Tensor
    """[B, 1]"""

    @property
    def completions(self) -> Tensor:
        """[B, C] token ids."""
        return self.tokens[:, -self.loss_mask.shape[1] :]


def load_policy(path: str, config: LearnerConfig, ds_config: dict[str, Any], trust_remote_code: bool) -> Actor:
    """Load a causal language model as OpenRLHF's Actor, with LoRA adapters if configured.

    The model is loaded here and handed over, because Actor itself always trusts remote code and
    knows no float32. Under ZeRO 3 every rank keeps only its part from the start. Collective.
    """
    partitioned = HfDeepSpeedConfig(ds_config) if config.zero_stage == 3 else None  # type: ignore[no-untyped-call]
    module: Any = AutoModelForCausalLM.from_pretrained(
        path,
        dtype=getattr(torch, config.dtype),
        attn_implementation=config.attention,
        trust_remote_code=trust_remote_code,
    )
    del partitioned  # transformers partitions as long as this object lives
    module.config.use_cache = False
    if config.lora_rank > 0:
        module = _add_adapters(module, config)
    if config.gradient_checkpointing:
        module.gradient_checkpointing_enable({"use_reentrant": False})
    set_z3_leaf_modules(module, detect_hybrid=False)
    actor = Actor(module)
    actor.packing_samples = False
    return actor


def collate(micro: MicroBatch, device: torch.device) -> TokenBatch:
    """Pad the prompts on the left, the completions on the right."""
    prompt_length, completion_length = micro.prompt_length, micro.completion_length
    tokens, attention, loss, logprobs = [], [], [], []
    for sample in micro.samples:
        before = prompt_length - len(sample.prompt_token_ids)
        after = completion_length - len(sample.completion_token_ids)
        tokens.append([0] * before + [*sample.prompt_token_ids, *sample.completion_token_ids] + [0] * after)
        attention.append([0] * before + [1] * (prompt_length - before + completion_length))
        loss.append([1.0] * (completion_length - after) + [0.0] * after)
        logprobs.append([*sample.rollout_logprobs] + [0.0] * after)
    return TokenBatch(
        tokens=torch.tensor(tokens, device=device),
        attention_mask=torch.tensor(attention, device=device),
        loss_mask=torch.tensor(loss, device=device),
        rollout_logprobs=torch.tensor(logprobs, device=device),
        advantages=torch.tensor([[sample.advantage] for sample in micro.samples], device=device),
    )


def completion_logits(
    actor: Actor, tokens: Tensor, attention_mask: Tensor, completion_length: int, temperature: float
) -> Tensor:
    """Logits [B, C, V] (float32, divided by the temperature) that predict the last C tokens.

    The last token predicts nothing and is not fed; the head runs at the C positions only.
    """
    actor.temperature = temperature
    output = actor(
        tokens[:, :-1],
        attention_mask=attention_mask[:, :-1],
        return_output=True,
        logits_to_keep=completion_length,
    )
    return output["logits"]


def completion_logprobs(actor: Actor, batch: TokenBatch, temperature: float) -> tuple[Tensor, Tensor]:
    """Log-probabilities [B, C] of the completion tokens, and of all tokens at their places [B, C, V]."""
    logits = completion_logits(actor, batch.tokens, batch.attention_mask, batch.loss_mask.shape[1], temperature)
    return gather_logprobs(logits, batch.completions)


def gather_logprobs(logits: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probabilities of `tokens` [B, C], and of all tokens [B, C, V].

    One log-softmax serves the loss and the entropy. (OpenRLHF's helper makes separate passes for the
    two, and its entropy is wrapped in torch.compile, which costs a compilation for every new shape.)
    """
    distribution = torch.log_softmax(logits, dim=-1)
    return distribution.gather(-1, tokens.unsqueeze(-1)).squeeze(-1), distribution


@torch.no_grad()
def entropy(distribution: Tensor) -> Tensor:
    """Entropy in nats of log-probabilities over the last dimension: [B, C, V] -> [B, C]."""
    rows = torch.split(distribution.flatten(0, -2), _ENTROPY_CHUNK)
    return torch.cat([-(chunk.exp() * chunk).sum(dim=-1) for chunk in rows]).view(distribution.shape[:-1])


def merged_parameters(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Every weight of the policy under its Hugging Face name, whole and with adapters merged in.

    One tensor at a time is gathered under ZeRO 3, so the call is collective: every rank must read to
    the end, and a tensor is valid only until the next one is asked for. Tied weights come once.
    """
    base = module.get_base_model() if isinstance(module, PeftModel) else module
    for name, parameter in base.named_parameters():
        if "lora_" in name:
            continue
        layer = base.get_submodule(name.rsplit(".base_layer.", 1)[0]) if ".base_layer." in name else None
        with _gathered([parameter] if layer is None else list(layer.parameters())):
            yield name.replace(".base_layer.", "."), _merged(layer, name, parameter)


@torch.no_grad()
def _merged(layer: Any, name: str, parameter: Tensor) -> Tensor:
    if layer is None or not name.endswith(".weight"):
        return parameter.detach()
    return parameter.detach() + layer.get_delta_weight("default").to(parameter.dtype)


def _gathered(parameters: Sequence[Tensor]) -> Any:
    partitioned = [parameter for parameter in parameters if hasattr(parameter, "ds_id")]
    return deepspeed.zero.GatheredParameters(partitioned, enabled=bool(partitioned))


def _add_adapters(module: Any, config: LearnerConfig) -> PeftModel:
    module.enable_input_require_grads()  # frozen embeddings would otherwise cut checkpointed layers off
    adapters = LoraConfig(
        task_type=TaskType.CAUSAL_LM, r=config.lora_rank, lora_alpha=config.lora_alpha, target_modules="all-linear"
    )
    return get_peft_model(module, adapters)
