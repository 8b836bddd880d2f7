"""Records of the rollout boundary: what is asked of the policy, and what it answered.

A *slot* is a place in the order of training: slot n is trained in optimizer step n // batch_size,
exactly once. An *attempt* is one prompt tried in a slot; a filtered or failed attempt is followed
by the next attempt of the same slot, from the same source.

Example:
    >>> ask = Message(role="user", content="what is 2 plus 3 ?")
    >>> prompt = Prompt(prompt_id="sum-2-3", family="sum-2-3", messages=(ask,),
    ...                 check=Check(kind="exact", expected="5"))
    >>> slot = Slot(index=7, source="standard", attempt=0, prompt=prompt)
"""

from typing import Literal

import msgspec

from grading.types import Check, Criterion, Grade


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


class Prompt(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation to be continued, and how the continuation is graded.

    Graded by a rubric (`criteria`) or by a program (`check`): exactly one of the two.
    """

    prompt_id: str
    """Unique in its data set, stable across runs."""
    family: str
    """What the prompt is a variant of; splits never divide a family."""
    messages: tuple[Message, ...]
    """Ends with a user's turn."""
    criteria: tuple[Criterion, ...] = ()
    check: Check | None = None
    trait: str = ""
    """Name of the beneficial trait, or "" for standard tasks."""
    domain: str = ""
    task: str = ""
    """Name of the standard task or evaluation, or ""."""

    def __post_init__(self) -> None:
        if bool(self.criteria) == (self.check is not None):
            raise ValueError(f"prompt {self.prompt_id!r} needs either criteria or a check, not both and not neither")
        if self.criteria and not any(criterion.points > 0 for criterion in self.criteria):
            raise ValueError(f"prompt {self.prompt_id!r}: its rubric has no criterion with positive points")
        if not self.messages or self.messages[-1].role != "user":
            raise ValueError(f"prompt {self.prompt_id!r} must end with a user's message")


class Slot(msgspec.Struct, frozen=True, kw_only=True):
    """A place in the order of training, with the prompt now tried in it."""

    index: int
    """Position in the order of training, from 0."""
    source: str
    """The source whose share of the mix this slot counts towards."""
    attempt: int
    """0 for the slot's first prompt, then 1, 2, ... for refills."""
    prompt: Prompt


class SamplingConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How completions are sampled."""

    temperature: float = 1.0
    top_p: float = 1.0
    max_tokens: int = 512
    """Most new tokens of a completion."""
    num_samples: int = 1
    """Completions of one request; all of one request run on one engine and share its prefix."""
    json_schema: str = ""
    """A JSON schema that the text must satisfy (structured output), or "" for free text."""
    seed: int | None = None


class GenerateRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One request to an engine: a conversation or token ids, and how to sample."""

    request_id: str
    messages: tuple[Message, ...] = ()
    """Rendered with the model's chat template; ignored when `prompt_token_ids` is given."""
    prompt_token_ids: tuple[int, ...] = ()
    sampling: SamplingConfig
    deadline_s: float = 120.0
    """Seconds after which the request is aborted and `DeadlineExceeded` raised."""


class GeneratedText(msgspec.Struct, frozen=True, kw_only=True):
    """One sampled continuation."""

    text: str
    """Decoded without special tokens."""
    token_ids: tuple[int, ...]
    """Includes the end-of-turn token when `finish_reason` is "stop"."""
    logprobs: tuple[float, ...]
    """Log-probability (nats) of each sampled token under the policy and temperature that sampled it."""
    finish_reason: Literal["stop", "length"]


class GenerateResult(msgspec.Struct, frozen=True, kw_only=True):
    """An engine's answer. The version range covers every token of every output."""

    prompt_token_ids: tuple[int, ...]
    outputs: tuple[GeneratedText, ...]
    min_policy_version: int
    max_policy_version: int
    engine: str
    """Name of the engine that answered."""


class Completion(msgspec.Struct, frozen=True, kw_only=True):
    """One completion of a rollout group."""

    completion_id: str
    """"<slot>.<attempt>.<sample>"."""
    text: str
    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    finish_reason: Literal["stop", "length"]
    min_policy_version: int
    """Smallest policy version (optimizer steps done) that produced any of its tokens."""
    max_policy_version: int


class RolloutGroup(msgspec.Struct, frozen=True, kw_only=True):
    """All completions of one prompt in one slot: the unit of group-relative advantages."""

    slot: Slot
    prompt_token_ids: tuple[int, ...]
    completions: tuple[Completion, ...]
    engine: str

    @property
    def num_completion_tokens(self) -> int:
        """Tokens that the policy wrote."""
        return sum(len(completion.token_ids) for completion in self.completions)

    @property
    def num_trained_tokens(self) -> int:
        """Tokens that pass through the learner: each completion with its prompt."""
        return self.num_completion_tokens + len(self.completions) * len(self.prompt_token_ids)


class GradedGroup(msgspec.Struct, frozen=True, kw_only=True):
    """A rollout group with one grade for each completion, in the same order."""

    group: RolloutGroup
    grades: tuple[Grade, ...]
