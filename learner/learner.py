"""The learner: one object for each rank of a DeepSpeed job, driven by its owner one step at a time.

    batch of samples -> this rank's micro-batches -> forward, loss, backward (each)
                     -> sums over all ranks, finite? -> clip, optimizer step, finite? -> StepMetrics

Every public method is collective: all ranks call it with the same arguments, in the same order.
"""

import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import torch
import torch.distributed as dist
from deepspeed.accelerator import get_accelerator
from torch import Tensor, nn
from transformers import AutoTokenizer

from learner import checkpoint
from learner.batch import MicroBatch, gradient_share, split_batch
from learner.checkpoint import Manifest
from learner.compat import Actor, Strategy, join_process_group
from learner.config import LearnerConfig
from learner.loss import LossTerms, Objective
from learner.policy import (
    TokenBatch,
    collate,
    completion_logits,
    completion_logprobs,
    entropy,
    gather_logprobs,
    load_policy,
    merged_parameters,
)
from learner.state import load_state, save_state, write_weights
from learner.types import StepMetrics, TrainSample


class NonFiniteLoss(RuntimeError):
    """The loss or its gradient is NaN or infinite. The learner refuses to go on or to save."""

    def __init__(self, step: int, loss: float, grad_norm: float | None) -> None:
        super().__init__(step, loss, grad_norm)
        self.step, self.loss, self.grad_norm = step, loss, grad_norm

    def __str__(self) -> str:
        gradient = "not computed" if self.grad_norm is None else f"{self.grad_norm}"
        return (
            f"optimizer step {self.step}: loss {self.loss}, gradient norm {gradient}; nothing was saved. "
            "Resume from the last checkpoint with a lower learning rate, or look at this step's samples"
        )


class Learner:
    """One rank of the learner.

    Args:
        model_path: Hugging Face id or folder of the starting policy; also the reference of the KL.
        config: how to optimize.
        rank: of this process, from 0.
        world_size: ranks of the job.
        master_addr: host of rank 0.
        master_port: free port on that host, for the rendezvous.
        device: "cpu" or "cuda"; must be what DeepSpeed's DS_ACCELERATOR says.
        seed: of whatever is drawn at random at the start (adapters).
        trust_remote_code: run Python code that comes with the model.

    Raises:
        ValueError: DeepSpeed runs on another device, or the configuration has a value without meaning.
    """

    def __init__(
        self,
        model_path: str,
        config: LearnerConfig,
        rank: int,
        world_size: int,
        master_addr: str,
        master_port: int,
        device: str,
        seed: int,
        trust_remote_code: bool = False,
    ) -> None:
        _check_config(config)
        join_process_group(rank, world_size, master_addr, master_port, device)
        if device == "cpu":
            torch.set_num_threads(config.cpu_threads)
        self.config, self.rank, self.world_size, self.seed = config, rank, world_size, seed
        self.steps_done = 0
        self._failure: NonFiniteLoss | None = None
        self._strategy = Strategy(config, seed, world_size)
        self._strategy.setup_distributed(timeout=timedelta(seconds=config.step_timeout_s))
        self._device = torch.device(get_accelerator().current_device_name())
        self._tokenizer = AutoTokenizer.from_pretrained(model_path, trust_remote_code=trust_remote_code)
        self._objective = Objective(config, world_size)
        self._actor, self._optimizer = self._load_trained(model_path, trust_remote_code)
        self._reference = self._load_reference(model_path, trust_remote_code) if config.kl_coefficient > 0 else None

    @property
    def module(self) -> nn.Module:
        """The Hugging Face (or PEFT) module whose parameters are trained; partitioned under ZeRO 3."""
        return self._engine.module

    @property
    def zero_stage(self) -> int:
        """ZeRO stage: from 3 on, a parameter must be gathered before it can be read."""
        return self.config.zero_stage

    def merged_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """Every weight by its Hugging Face name, whole, adapters merged in; see `policy.merged_parameters`."""
        return merged_parameters(self.module)

    def train_step(self, samples: Sequence[TrainSample], step: int, temperature: float) -> StepMetrics:
        """One optimizer step on a batch; every rank is given all of it and computes its share.

        Args:
            samples: the batch.
            step: optimizer steps done before this one, for a check that all agree where they are.
            temperature: at which the completions were sampled.

        Raises:
            ValueError: the batch is empty, or `step` is not the learner's own count.
            NonFiniteLoss: the loss or the gradient is not finite. This learner is then of no more use.
        """
        started = time.perf_counter()
        self._check_ready(samples, step)
        plan = split_batch(samples, self.world_size, self.config.micro_batch_tokens)[self.rank]
        normalization = self._objective.normalization(samples)
        totals = _Totals(self._device)
        for index, micro in enumerate(plan):
            self._engine.set_gradient_accumulation_boundary(index == len(plan) - 1)
            self._backward(micro, normalization, temperature, totals)
        totals.reduce(self.world_size)
        self._require_finite(totals.loss, None)
        learning_rate, grad_norm = self._optimizer_step()
        self._require_finite(totals.loss, grad_norm)
        self.steps_done += 1
        num_completion_tokens = sum(len(sample.completion_token_ids) for sample in samples)
        return StepMetrics(
            step=self.steps_done,
            loss=totals.loss,
            grad_norm=grad_norm,
            learning_rate=learning_rate,
            clip_share=totals.num_limited / num_completion_tokens,
            entropy=totals.entropy / num_completion_tokens,
            mismatch_kl=totals.mismatch_kl / num_completion_tokens,
            mismatch_max=totals.mismatch_max,
            reference_kl=totals.reference_kl / num_completion_tokens,
            num_tokens=num_completion_tokens + sum(len(sample.prompt_token_ids) for sample in samples),
            num_samples=len(samples),
            gradient_share=gradient_share(samples),
            seconds=time.perf_counter() - started,
        )

    @torch.no_grad()
    def logprobs(self, token_ids: Sequence[int]) -> list[float]:
        """Log-probabilities (nats, temperature 1) of the second to the last token, each given those before it.

        Raises:
            ValueError: fewer than two tokens, of which none could be predicted.
        """
        if len(token_ids) < 2:
            raise ValueError(f"log-probabilities need at least 2 tokens, got {len(token_ids)}")
        tokens = torch.tensor([list(token_ids)], device=self._device)
        self._engine.eval()
        logits = completion_logits(self._actor, tokens, torch.ones_like(tokens), len(token_ids) - 1, 1.0)
        return gather_logprobs(logits, tokens[:, 1:])[0][0].tolist()

    def save(
        self,
        path: str | Path,
        client_state: dict[str, Any],
        *,
        run: str = "",
        arm: str = "",
        probe_token_ids: Sequence[int] = (),
        resumable: bool = True,
    ) -> Manifest:
        """Write a checkpoint; it appears under `path` when it is complete, and not before.

        Args:
            path: the checkpoint's folder, on a disk that all ranks share.
            client_state: what `load` gives back; JSON values only.
            run: name of the run, for the manifest.
            arm: name of the training arm, for the manifest.
            probe_token_ids: tokens whose log-probabilities go into the manifest.
            resumable: write the optimizer's state too; without it the checkpoint can be evaluated only.

        Raises:
            NonFiniteLoss: a step has failed before: these weights must not be kept.
        """
        if self._failure is not None:
            raise self._failure
        path = Path(path)
        partial = checkpoint.partial_path(path)
        if self.rank == 0:
            checkpoint.begin(path)
        dist.barrier()
        write_weights(self.module, self._tokenizer, partial / checkpoint.WEIGHTS)
        if resumable:
            save_state(self._engine, partial / checkpoint.STATE)
        probe_logprobs = self.logprobs(probe_token_ids) if probe_token_ids else []
        dist.barrier()
        if self.rank == 0:
            manifest = self._manifest(partial, run, arm, tuple(probe_token_ids), tuple(probe_logprobs))
            checkpoint.publish(path, manifest, client_state)
        dist.barrier()
        return checkpoint.load_manifest(path, verify=False)

    def load(self, path: str | Path) -> dict[str, Any]:
        """Go on from a resumable checkpoint, exactly where it was written; returns its client state.

        Raises:
            CheckpointError: it is incomplete or damaged.
            ValueError: it holds no optimizer state, or was written by a differently shaped learner.
        """
        path = Path(path)
        manifest = checkpoint.load_manifest(path)
        self._check_same_shape(path, manifest)
        load_state(self._engine, path / checkpoint.STATE)
        self.steps_done = manifest.step
        return checkpoint.load_client_state(path)

    def close(self) -> None:
        """Leave the process group."""
        self._engine.destroy()
        dist.destroy_process_group()

    @property
    def _engine(self) -> Any:
        """The DeepSpeed engine, which OpenRLHF's strategy puts into the actor."""
        return self._actor.model

    def _load_trained(self, model_path: str, trust_remote_code: bool) -> tuple[Actor, Any]:
        actor = load_policy(model_path, self.config, self._strategy.get_ds_train_config(), trust_remote_code)
        actor, optimizer, _ = self._strategy.prepare((actor, self._strategy.optimizer_config()))
        return actor, optimizer

    def _load_reference(self, model_path: str, trust_remote_code: bool) -> Actor:
        ds_config = self._strategy.get_ds_eval_config()
        actor = load_policy(model_path, _without_adapters(self.config), ds_config, trust_remote_code)
        return self._strategy.prepare(actor).eval()

    def _backward(
        self, micro: MicroBatch | None, normalization: dict[str, Any], temperature: float, totals: "_Totals"
    ) -> None:
        """Forward and backward of one micro-batch; for None, the same collective calls with no effect."""
        self._engine.train()
        if micro is None:
            token = torch.zeros((1, 2), dtype=torch.long, device=self._device)
            logits = completion_logits(self._actor, token, torch.ones_like(token), 1, temperature)
            self._strategy.backward(logits.sum() * 0.0, self._actor, self._optimizer)
            return
        batch = collate(micro, self._device)
        reference = self._reference_logprobs(batch, temperature)
        logprobs, distribution = completion_logprobs(self._actor, batch, temperature)
        terms = self._objective(batch, logprobs, reference, normalization)
        totals.add(terms, (entropy(distribution) * batch.loss_mask).sum())
        self._strategy.backward(terms.loss, self._actor, self._optimizer)

    @torch.no_grad()
    def _reference_logprobs(self, batch: TokenBatch, temperature: float) -> Tensor | None:
        if self._reference is None:
            return None
        return completion_logprobs(self._reference, batch, temperature)[0]

    def _optimizer_step(self) -> tuple[float, float]:
        """Clip and step; returns the learning rate (linear warm-up, never 0, then constant) and gradient norm."""
        learning_rate = self.config.learning_rate * min(1.0, (self.steps_done + 1) / max(1, self.config.warmup_steps))
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate
        plain_norm = self._plain_grad_norm()
        self._strategy.optimizer_step(self._optimizer, self._actor, None)
        return learning_rate, self._strategy.get_grad_norm(self._actor) if plain_norm is None else plain_norm

    def _plain_grad_norm(self) -> float | None:
        """Gradient norm in the one mode in which DeepSpeed clips but does not tell it: float32 without ZeRO."""
        if self.config.zero_stage > 0 or self.config.dtype != "float32":
            return None
        gradients = [parameter.grad for parameter in self.module.parameters() if parameter.grad is not None]
        return torch.nn.utils.get_total_norm(gradients).item()

    def _check_ready(self, samples: Sequence[TrainSample], step: int) -> None:
        if self._failure is not None:
            raise self._failure
        if not samples:
            raise ValueError("an optimizer step needs at least one sample, got none")
        if step != self.steps_done:
            raise ValueError(f"asked for the step after {step} steps, but this learner has done {self.steps_done}")

    def _require_finite(self, loss: float, grad_norm: float | None) -> None:
        values = torch.tensor([loss, 0.0 if grad_norm is None else grad_norm])
        if not values.isfinite().all():
            self._failure = NonFiniteLoss(self.steps_done + 1, loss, grad_norm)
            raise self._failure

    def _manifest(
        self, partial: Path, run: str, arm: str, probe: tuple[int, ...], logprobs: tuple[float, ...]
    ) -> Manifest:
        return Manifest(
            step=self.steps_done,
            weights_hash=checkpoint.content_hash(partial / checkpoint.WEIGHTS),
            probe_token_ids=probe,
            probe_logprobs=logprobs,
            run=run,
            arm=arm,
            seed=self.seed,
            num_ranks=self.world_size,
            zero_stage=self.config.zero_stage,
            dtype=self.config.dtype,
            lora_rank=self.config.lora_rank,
            created=checkpoint.now(),
            versions=checkpoint.package_versions(),
        )

    def _check_same_shape(self, path: Path, manifest: Manifest) -> None:
        if not checkpoint.is_resumable(path):
            raise ValueError(f"{path} has weights only: choose a checkpoint that still has its state folder")
        config = self.config
        written = (manifest.num_ranks, manifest.zero_stage, manifest.dtype, manifest.lora_rank)
        ours = (self.world_size, config.zero_stage, config.dtype, config.lora_rank)
        if written != ours:
            raise ValueError(
                f"{path} was written with (num_ranks, zero_stage, dtype, lora_rank) = {written}, this learner has "
                f"{ours}: resume with the same ones"
            )


class _Totals:
    """Sums over the completion tokens of a step, on the device until they are reduced."""

    def __init__(self, device: torch.device) -> None:
        self._sums = torch.zeros(5, device=device)
        self._max = torch.zeros(1, device=device)

    def add(self, terms: LossTerms, entropy_sum: Tensor) -> None:
        """Count one micro-batch."""
        self._sums += torch.stack(
            [terms.loss.detach(), terms.num_limited, entropy_sum, terms.mismatch_kl, terms.reference_kl]
        )
        self._max = torch.maximum(self._max, terms.mismatch_max)

    def reduce(self, world_size: int) -> None:
        """Add up over ranks. Collective."""
        dist.all_reduce(self._sums)
        dist.all_reduce(self._max, op=dist.ReduceOp.MAX)
        loss, self.num_limited, self.entropy, self.mismatch_kl, self.reference_kl = self._sums.tolist()
        self.loss = loss / world_size
        self.mismatch_max = self._max.item()


def _without_adapters(config: LearnerConfig) -> LearnerConfig:
    return msgspec.structs.replace(config, lora_rank=0, gradient_checkpointing=False)


def _check_config(config: LearnerConfig) -> None:
    if not config.max_grad_norm > 0:
        raise ValueError(
            f"max_grad_norm must be above 0, got {config.max_grad_norm}; use a large number for no clipping"
        )
    if config.length_normalizer < 1:
        raise ValueError(f"length_normalizer must be at least 1 token, got {config.length_normalizer}")
