"""Makers of the learner's records, for its tests."""

from grading.types import Check, Grade
from learner.types import TrainSample
from rollout.types import Completion, GradedGroup, Message, Prompt, RolloutGroup, Slot


def sample(prompt: int, completion: int, *, advantage: float = 1.0, source: str = "standard", slot: int = 0):
    """A sample with a prompt and a completion of the given lengths."""
    return TrainSample(
        prompt_token_ids=tuple(range(prompt)),
        completion_token_ids=tuple(range(completion)),
        rollout_logprobs=(-1.0,) * completion,
        advantage=advantage,
        source=source,
        slot=slot,
        min_policy_version=0,
    )


def graded_group(rewards, *, slot: int = 0, source: str = "standard", version: int = 0) -> GradedGroup:
    """A group with one completion of two tokens for each reward."""
    prompt = Prompt(
        prompt_id=f"p{slot}",
        family=f"p{slot}",
        messages=(Message(role="user", content="?"),),
        check=Check(kind="exact", expected="5"),
    )
    completions = tuple(
        Completion(
            completion_id=f"{slot}.0.{index}",
            text="a b",
            token_ids=(index, 9),
            logprobs=(-0.5, -0.25),
            finish_reason="stop",
            min_policy_version=version,
            max_policy_version=version,
        )
        for index in range(len(rewards))
    )
    group = RolloutGroup(
        slot=Slot(index=slot, source=source, attempt=0, prompt=prompt),
        prompt_token_ids=(1, 2, 3),
        completions=completions,
        engine="engine-0",
    )
    grades = tuple(
        Grade(completion_id=completion.completion_id, reward=reward)
        for completion, reward in zip(completions, rewards, strict=True)
    )
    return GradedGroup(group=group, grades=grades)
