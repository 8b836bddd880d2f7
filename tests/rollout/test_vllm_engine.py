"""The engine's light part: its process's environment. What needs vLLM is in tests/integration."""

import subprocess
import sys

from rollout.config import EngineConfig
from rollout.engine_environment import engine_environment


def test_cpu_threads_and_start_deadline_reach_the_process():
    environment = engine_environment(EngineConfig(cpu_threads=3, start_timeout_s=90.4), "cpu")
    assert environment["OMP_NUM_THREADS"] == "3"
    assert environment["VLLM_ENGINE_READY_TIMEOUT_S"] == "90"
    assert environment["VLLM_CPU_OMP_THREADS_BIND"] == "nobind"


def test_nothing_of_the_cpu_is_set_on_a_gpu():
    environment = engine_environment(EngineConfig(), "cuda")
    assert not {"OMP_NUM_THREADS", "VLLM_CPU_OMP_THREADS_BIND", "TORCH_COMPILE_DISABLE"} & environment.keys()
    assert "VLLM_ALLOW_INSECURE_SERIALIZATION" not in environment


def test_the_environment_can_be_read_before_vllm_is_imported():
    code = (
        "import sys, rollout.engine_environment, rollout.weight_sync;"
        "sys.exit(any(name in sys.modules for name in ('vllm', 'torch', 'ray')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
