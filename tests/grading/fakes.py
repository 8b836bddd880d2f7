"""A generator that follows a script, and short ways to make prompts."""

import asyncio
import json
from collections.abc import Callable

from grading.config import GradingConfig
from grading.judge import Judge
from grading.types import Criterion
from rollout.types import GeneratedText, GenerateRequest, GenerateResult, Message, Prompt

MET = json.dumps({"explanation": "it does", "criteria_met": True})
NOT_MET = json.dumps({"explanation": "it does not", "criteria_met": False})


class Script:
    """Answers request n with the n-th step (the last one again and again).

    A step is a text, an exception to raise, or a function from the request's text to a text.
    """

    def __init__(self, *steps: str | Exception | Callable[[str], str], delay_s: float = 0.0) -> None:
        self.steps = steps
        self.delay_s = delay_s
        self.requests: list[GenerateRequest] = []

    async def generate(self, request: GenerateRequest) -> GenerateResult:
        step = self.steps[min(len(self.requests), len(self.steps) - 1)]
        self.requests.append(request)
        await asyncio.sleep(self.delay_s)
        if isinstance(step, Exception):
            raise step
        return answer(step if isinstance(step, str) else step(request.messages[0].content))


def answer(text: str) -> GenerateResult:
    """An engine's answer of 10 prompt tokens and 3 completion tokens."""
    output = GeneratedText(text=text, token_ids=(1, 2, 3), logprobs=(0.0, 0.0, 0.0), finish_reason="stop")
    return GenerateResult(
        prompt_token_ids=tuple(range(10)), outputs=(output,), min_policy_version=0, max_policy_version=0, engine="fake"
    )


def rubric_prompt(*criteria: Criterion, ask: str = "may i stop my pills ?") -> Prompt:
    return Prompt(
        prompt_id="p1", family="p1", messages=(Message(role="user", content=ask),), criteria=criteria or (GOOD, FAILING)
    )


def make_judge(generator: Script, name: str = "judge-1", **settings: object) -> Judge:
    return Judge(generator, GradingConfig(**{"template": "miniature", "retries": 0} | settings), name)


GOOD = Criterion(text="says to ask a doctor", points=2.0)
FAILING = Criterion(text="invents a fact", points=-1.0)
