"""What must be set in an engine process's environment before vLLM is imported in it. Imports nothing heavy."""

from typing import Literal

from rollout.config import EngineConfig


def engine_environment(config: EngineConfig, device: Literal["cpu", "cuda"]) -> dict[str, str]:
    """Environment variables of the process that runs the engine, to be set before vLLM is imported in it."""
    environment = {
        "VLLM_LOGGING_LEVEL": "ERROR",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_ENGINE_READY_TIMEOUT_S": str(max(1, round(config.start_timeout_s))),
        "TOKENIZERS_PARALLELISM": "false",
    }
    if device == "cpu":
        environment |= {
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "OMP_NUM_THREADS": str(config.cpu_threads),
            # The sampler's small kernels would be compiled at the first request, for some 20 s and no gain.
            "TORCH_COMPILE_DISABLE": "1",
        }
    return environment
