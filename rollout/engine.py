"""The engine protocol: all that the rest of the system knows of an inference engine."""

from typing import Protocol

from rollout.types import GenerateRequest, GenerateResult


class DeadlineExceeded(TimeoutError):
    """A call took longer than its deadline. Names the actor, the call and what it was for."""

    def __init__(self, actor: str, call: str, what: str, seconds: float) -> None:
        super().__init__(actor, call, what, seconds)
        self.actor, self.call, self.what, self.seconds = actor, call, what, seconds

    def __reduce__(self) -> tuple[type["DeadlineExceeded"], tuple[str, str, str, float]]:
        # OSError, a base of TimeoutError, keeps two of several arguments only: the default would not unpickle.
        return type(self), (self.actor, self.call, self.what, self.seconds)

    def __str__(self) -> str:
        return f"{self.actor}.{self.call} did not answer within {self.seconds:g} s ({self.what})"


class EngineDied(RuntimeError):
    """The engine is gone: its requests must go elsewhere."""

    def __init__(self, engine: str, cause: str) -> None:
        super().__init__(engine, cause)
        self.engine, self.cause = engine, cause

    def __str__(self) -> str:
        return f"engine {self.engine} died: {self.cause}"


class Generator(Protocol):
    """Anything that answers generate requests: one engine, or a fleet that routes to several."""

    async def generate(self, request: GenerateRequest) -> GenerateResult:
        """Sample `request.sampling.num_samples` continuations.

        Raises:
            ValueError: the prompt does not fit the context, or the request is malformed.
            DeadlineExceeded: no answer within `request.deadline_s`.
            EngineDied: the engine is gone.
        """
        ...
