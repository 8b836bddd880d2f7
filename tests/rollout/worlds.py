"""Small prompts, slots and graded groups for the tests of the rollout package."""

from grading.types import Check, Criterion, Grade
from rollout.types import Completion, GradedGroup, Message, Prompt, RolloutGroup, Slot

DOMAINS = ("health", "science", "law")
RUBRIC = (Criterion(text="says how sure it is", points=1.0),)
HELPFULNESS = (Criterion(text="answers what was asked", points=2.0),)


def standard_prompts(count: int) -> tuple[Prompt, ...]:
    return tuple(
        Prompt(
            prompt_id=f"standard-{n}",
            family=f"standard-{n}",
            messages=(Message(role="user", content=f"what is {n} plus 1 ?"),),
            check=Check(kind="exact", expected=str(n + 1)),
            task="sum",
        )
        for n in range(count)
    )


def trait_prompts(count: int) -> tuple[Prompt, ...]:
    return tuple(
        Prompt(
            prompt_id=f"trait-{n}",
            family=f"trait-{n}",
            messages=(Message(role="user", content=f"case {n}"),),
            criteria=RUBRIC,
            trait="truthfulness",
            domain=DOMAINS[n % len(DOMAINS)],
        )
        for n in range(count)
    )


def graded(slot: Slot, rewards: tuple[float | None, ...] = (1.0, 0.0), prompt_tokens: int = 3) -> GradedGroup:
    """A group of completions of 2, 3, 4, ... tokens, the last of them cut off."""
    completions = tuple(
        Completion(
            completion_id=f"{slot.index}.{slot.attempt}.{n}",
            text="text",
            token_ids=tuple(range(n + 2)),
            logprobs=(-0.5,) * (n + 2),
            finish_reason="length" if n == len(rewards) - 1 else "stop",
            min_policy_version=4,
            max_policy_version=4 + n,
        )
        for n in range(len(rewards))
    )
    grades = tuple(
        Grade(completion_id=completion.completion_id, reward=reward, judge_tokens=10)
        for completion, reward in zip(completions, rewards, strict=True)
    )
    group = RolloutGroup(
        slot=slot, prompt_token_ids=tuple(range(prompt_tokens)), completions=completions, engine="engine-0"
    )
    return GradedGroup(group=group, grades=grades)
