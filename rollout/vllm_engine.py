"""One vLLM engine behind the engine protocol. Ray-free: an actor wraps it, a test uses it as it is.

Set `rollout.engine_environment` in the process before vLLM is first imported there.

What its answers promise:

- Token ids and log-probabilities are those of sampling itself. Log-probabilities are *processed* ones: at the
  request's temperature, which is what the learner computes from its logits divided by that temperature.
- The version range covers every token: the version when the request came and the one when it ended.
- After weights change, nothing computed under the old ones is used: vLLM drops its prefix cache and computes
  the cache of requests in flight anew.
- Checkpoints are read from safetensors only, so loading one never unpickles anything.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, Literal, cast

from vllm import SamplingParams
from vllm.config import StructuredOutputsConfig, WeightTransferConfig
from vllm.distributed.weight_transfer.base import WeightTransferInitRequest, WeightTransferUpdateRequest
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.exceptions import VLLMClientError
from vllm.inputs.engine import tokens_input
from vllm.outputs import CompletionOutput, RequestOutput
from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams
from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

from rollout.config import EngineConfig
from rollout.engine import DeadlineExceeded, EngineDied
from rollout.types import GeneratedText, GenerateRequest, GenerateResult, SamplingConfig
from rollout.weight_sync import TransferGroup, TransferManifest

Device = Literal["cpu", "cuda"]
TransferBackend = Literal["gloo", "nccl"]

WORKER_EXTENSION = "rollout.weight_transfer.WorkerExtension"
BACKENDS = {"gloo": "gloo", "nccl": "verified_nccl"}
CPU_BLOCK_TOKENS = 32
"""Tokens of one block of the key-value cache on a CPU. Only whole blocks of a prompt are shared by its samples."""
PROBE_PRIORITY = -1
"""Before all requests (0), so that a probe does not wait behind them."""


class VllmEngine:
    """A running engine. Make one with `await VllmEngine.start(...)`."""

    def __init__(self, name: str, model_path: str, llm: AsyncLLM, version: int) -> None:
        self.name = name
        self.policy_version = version
        self._model_path = model_path
        self._llm = llm
        self._tokenizer: Any = llm.get_tokenizer()
        self._max_model_len: int = llm.model_config.max_model_len

    @classmethod
    async def start(
        cls,
        name: str,
        model_path: str,
        config: EngineConfig,
        device: Device,
        transfer_backend: TransferBackend | None = None,
        version: int = 0,
    ) -> "VllmEngine":
        """Start an engine; it can generate when this returns.

        Args:
            name: Names the engine in results and errors.
            model_path: A Hugging Face folder or id.
            config: The engine's settings.
            device: Where it runs.
            transfer_backend: How weights reach it; None for an engine that only `reload`s checkpoints.
            version: Policy version of the weights at `model_path`.

        Raises:
            ValueError: the settings do not fit the device or the model.
            EngineDied: the engine did not start.
        """
        try:
            arguments = _arguments(model_path, config, device, transfer_backend)
            llm = await asyncio.to_thread(AsyncLLM.from_engine_args, arguments)
        except (RuntimeError, TimeoutError) as error:
            raise EngineDied(name, f"it did not start with {model_path}: {error}") from error
        except (ValueError, OSError) as error:  # vLLM's own may not survive a pickle
            raise ValueError(f"engine {name} cannot be started with {model_path}: {error}") from error
        return cls(name, model_path, llm, version)

    async def generate(self, request: GenerateRequest) -> GenerateResult:
        """Sample all continuations of one request together. See `rollout.engine.Generator`."""
        prompt = self._prompt_token_ids(request)
        oldest = self.policy_version
        output = await self._run(
            prompt, _sampling_params(request.sampling), request.request_id, "generate", request.deadline_s
        )
        return GenerateResult(
            prompt_token_ids=tuple(prompt),
            outputs=tuple(self._text(one) for one in output.outputs),
            min_policy_version=oldest,
            max_policy_version=self.policy_version,
            engine=self.name,
        )

    async def score(self, token_ids: Sequence[int], deadline_s: float = 120.0) -> list[float]:
        """Log-probability (nats) of each token but the first, given those before it, at temperature 1.

        Raises:
            ValueError: fewer than 2 tokens, or as many as the context has.
        """
        if not 2 <= len(token_ids) < self._max_model_len:
            raise ValueError(f"score needs 2 to {self._max_model_len - 1} tokens, got {len(token_ids)}")
        params = SamplingParams(
            max_tokens=1, prompt_logprobs=0, detokenize=False, output_kind=RequestOutputKind.FINAL_ONLY
        )
        output = await self._run(list(token_ids), params, "score", "score", deadline_s, PROBE_PRIORITY)
        assert output.prompt_logprobs is not None
        positions = list(zip(token_ids, output.prompt_logprobs, strict=True))[1:]
        return [cast(dict[int, Any], position)[token].logprob for token, position in positions]

    async def reload(self, path: str, version: int = 0) -> None:
        """Take the weights of another checkpoint of the same architecture, once requests in flight have ended.

        Raises:
            ValueError: the folder holds no model, or one of another shape; the engine goes on as it was.
            EngineDied: loading failed half-way; the engine is stopped.
        """
        _require_same_shape(self._llm.model_config.hf_config.to_dict(), path)
        with self._deaths_named("reload"):
            await self._llm.pause_generation(mode="wait")
        try:
            await self._llm.collective_rpc("load_checkpoint", args=(path,))
        except Exception as error:
            self.stop()
            raise EngineDied(self.name, f"loading the checkpoint {path} failed half-way: {error}") from error
        self._model_path, self.policy_version = path, version
        await self.resume()

    async def pause(self) -> None:
        """Freeze requests in flight (later ones wait) and drop what was cached under the present weights."""
        with self._deaths_named("pause"):
            await self._llm.pause_generation(mode="keep")

    async def resume(self) -> None:
        """Go on with requests in flight."""
        with self._deaths_named("resume"):
            await self._llm.resume_generation()

    async def connect(self, group: TransferGroup) -> None:
        """Join a transfer group with all workers of this engine; returns when all members have joined."""
        info = {
            "master_address": group.address,
            "master_port": group.port,
            "rank_offset": group.rank,
            "world_size": group.world_size,
        }
        if self._transfer_backend == BACKENDS["gloo"]:
            info["timeout_s"] = group.timeout_s
        else:
            info["packed"] = True
        with self._deaths_named("connect"):
            await self._llm.init_weight_transfer_engine(WeightTransferInitRequest(init_info=info))

    async def receive(self, manifest: TransferManifest, version: int) -> int:
        """Receive and load the weights of `version` while paused; the checksum of what arrived.

        Raises:
            RuntimeError: the transfer broke off, or the workers of this engine received different bytes.
        """
        update = {
            "names": list(manifest.names),
            "dtype_names": list(manifest.dtype_names),
            "shapes": [list(shape) for shape in manifest.shapes],
        }
        with self._deaths_named("receive"):
            await self._llm.start_weight_update()
            await self._llm.update_weights(WeightTransferUpdateRequest(update_info=update))
            self.policy_version = version
            await self._llm.finish_weight_update(weight_version=str(version))
            sums = await self._llm.collective_rpc("received_weights_checksum")
        if len(set(sums)) != 1 or sums[0] is None:
            raise RuntimeError(f"engine {self.name}: its workers received different weights, checksums {sums}")
        return int(sums[0])

    async def sleep(self) -> None:
        """Free the GPU, once requests in flight have ended; weights wait in host memory.

        Raises:
            ValueError: the engine was not started with `sleep_mode`.
        """
        self._require_sleep_mode()
        with self._deaths_named("sleep"):
            await self._llm.sleep(level=1, mode="wait")

    async def wake(self) -> None:
        """Take the GPU again after `sleep`."""
        self._require_sleep_mode()
        with self._deaths_named("wake"):
            await self._llm.wake_up()

    async def health(self) -> None:
        """Return if the engine lives.

        Raises:
            EngineDied: it does not.
        """
        with self._deaths_named("health"):
            await self._llm.check_health()

    def stop(self) -> None:
        """End the engine's processes."""
        self._llm.shutdown()

    @property
    def _transfer_backend(self) -> str:
        transfer = self._llm.vllm_config.weight_transfer_config
        if transfer is None:
            raise ValueError(f"engine {self.name} was started without a transfer_backend and cannot receive weights")
        return transfer.backend

    def _require_sleep_mode(self) -> None:
        if not self._llm.model_config.enable_sleep_mode:
            raise ValueError(f"engine {self.name} cannot sleep: start it on a GPU with sleep_mode = true")

    async def _run(
        self,
        prompt: list[int],
        params: SamplingParams,
        request_id: str,
        call: str,
        deadline_s: float,
        priority: int = 0,
    ) -> RequestOutput:
        """Run one request to its end. Leaving early, for a deadline too, aborts it in the engine."""
        outputs = cast(
            AsyncIterator[RequestOutput],
            self._llm.generate(tokens_input(prompt), params, request_id, priority=priority),
        )
        final: RequestOutput | None = None
        try:
            with self._deaths_named(call):
                async with asyncio.timeout(deadline_s) as timer:
                    async for output in outputs:
                        final = output
        except TimeoutError as error:
            if timer.expired():
                raise DeadlineExceeded(self.name, call, f"request {request_id}", deadline_s) from error
            raise
        if final is None or any(one.finish_reason not in ("stop", "length") for one in final.outputs):
            raise EngineDied(self.name, f"it gave up request {request_id} by itself")
        return final

    @contextlib.contextmanager
    def _deaths_named(self, call: str) -> Any:
        """Turn vLLM's errors into this project's. vLLM's own do not survive a pickle, and name no engine."""
        try:
            yield
        except EngineDeadError as error:
            raise EngineDied(self.name, f"its processes ended (found by {call})") from error
        except VLLMClientError as error:
            raise ValueError(f"engine {self.name} refused the request: {error}") from error
        except EngineGenerateError as error:
            cause = error.__cause__ or error
            if self._llm.errored:
                raise EngineDied(self.name, f"{call} failed: {cause}") from error
            raise RuntimeError(f"engine {self.name}: {call} failed: {type(cause).__name__}: {cause}") from error

    def _prompt_token_ids(self, request: GenerateRequest) -> list[int]:
        if request.prompt_token_ids:
            prompt = list(request.prompt_token_ids)
        elif request.messages:
            prompt = self._render(request)
        else:
            raise ValueError(f"request {request.request_id} has neither messages nor prompt_token_ids")
        if len(prompt) >= self._max_model_len:
            raise ValueError(
                f"request {request.request_id}: the prompt has {len(prompt)} tokens and the engine's context "
                f"{self._max_model_len}; shorten the prompt or raise max_model_len"
            )
        return prompt

    def _render(self, request: GenerateRequest) -> list[int]:
        if not self._tokenizer.chat_template:
            raise ValueError(
                f"request {request.request_id} has messages, but the tokenizer of {self._model_path} has no chat "
                "template; add one to its folder or send prompt_token_ids"
            )
        messages = [{"role": message.role, "content": message.content} for message in request.messages]
        rendered: list[int] = self._tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, tokenize=True, return_dict=False
        )
        return rendered

    def _text(self, output: CompletionOutput) -> GeneratedText:
        token_ids = tuple(output.token_ids)
        logprobs: Any = output.logprobs
        return GeneratedText(
            text=self._tokenizer.decode(token_ids, skip_special_tokens=True),
            token_ids=token_ids,
            logprobs=tuple(logprobs.logprobs),
            finish_reason=cast(Literal["stop", "length"], output.finish_reason),
        )


def _arguments(
    model_path: str, config: EngineConfig, device: Device, transfer_backend: TransferBackend | None
) -> AsyncEngineArgs:
    """vLLM's settings, and nothing left to its guesses that matters here."""
    if device == "cpu" and config.sleep_mode:
        raise ValueError("sleep_mode frees GPU memory and needs device cuda, got cpu; set sleep_mode = false")
    transfer = WeightTransferConfig(backend=BACKENDS[transfer_backend]) if transfer_backend else None
    on_cpu = device == "cpu"
    placement: dict[str, Any] = (
        {"kv_cache_memory_bytes": int(config.kv_cache_gib * 2**30), "block_size": CPU_BLOCK_TOKENS}
        if on_cpu
        else {"gpu_memory_utilization": config.gpu_memory_utilization, "enable_sleep_mode": config.sleep_mode}
    )
    return AsyncEngineArgs(
        model=model_path,
        dtype=config.dtype,
        max_model_len=config.max_model_len,
        max_num_seqs=config.max_num_seqs,
        tensor_parallel_size=config.tensor_parallel_size,
        enforce_eager=config.enforce_eager or on_cpu,
        trust_remote_code=config.trust_remote_code,
        load_format="safetensors",
        enable_prefix_caching=True,
        logprobs_mode="processed_logprobs",
        scheduling_policy="priority",
        structured_outputs_config=StructuredOutputsConfig(backend="xgrammar", disable_any_whitespace=True),
        worker_extension_cls=WORKER_EXTENSION,
        weight_transfer_config=transfer,
        disable_log_stats=True,
        **placement,
    )


def _sampling_params(sampling: SamplingConfig) -> SamplingParams:
    """One output at the end, decoded once by us: nothing is done for each token in this process."""
    schema = sampling.json_schema
    return SamplingParams(
        n=sampling.num_samples,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        max_tokens=sampling.max_tokens,
        seed=sampling.seed,
        logprobs=0,
        flat_logprobs=True,
        detokenize=False,
        output_kind=RequestOutputKind.FINAL_ONLY,
        structured_outputs=StructuredOutputsParams(json=schema) if schema else None,
    )


def _require_same_shape(config: dict[str, Any], path: str) -> None:
    """Refuse a checkpoint whose configuration differs where it decides what the weights are."""
    file = Path(path) / "config.json"
    if not file.is_file():
        raise ValueError(f"{path} holds no model: there is no config.json; give the folder of a checkpoint's weights")
    ours, theirs = _shape(config), _shape(json.loads(file.read_text()))
    differing = sorted(key for key in ours.keys() & theirs.keys() if ours[key] != theirs[key])
    if differing:
        found = ", ".join(f"{key} {theirs[key]!r}, not {ours[key]!r}" for key in differing)
        raise ValueError(f"{path} is another model than the engine's: {found}; start an engine for it")


def _shape(config: dict[str, Any]) -> dict[str, Any]:
    keys = ("architectures", "model_type", "tie_word_embeddings", "vocab_size")
    return {key: value for key, value in config.items() if key in keys or key.startswith(("hidden", "num_", "inter"))}
