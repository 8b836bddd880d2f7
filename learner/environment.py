"""What must be set in a learner process's environment before it starts. Imports nothing heavy."""

from learner.config import LearnerConfig


def learner_environment(config: LearnerConfig, device: str) -> dict[str, str]:
    """Environment variables of one learner process.

    DeepSpeed picks its accelerator, and torch its thread pool, when they are first imported: later is
    too late.
    """
    environment = {"DS_ACCELERATOR": device, "TOKENIZERS_PARALLELISM": "false"}
    if device == "cpu":
        environment["OMP_NUM_THREADS"] = str(config.cpu_threads)
    return environment
