"""The judge: one model, asked one criterion at a time, answering in strict JSON.

Every call ends in a verdict before its deadline. What cannot be graded says why, by the name of a
`Failure`; it never becomes "not met", which would reward a response for a failing that nobody saw.
"""

import asyncio
import json
import uuid
from collections import Counter
from enum import StrEnum

import msgspec

from grading.breaker import Breaker
from grading.cache import Judgement, VerdictCache, verdict_key
from grading.config import GradingConfig
from grading.templates import load_template, render
from grading.types import Criterion, Verdict, VerdictStatus
from rollout.engine import EngineDied, Generator
from rollout.types import GenerateRequest, GenerateResult, Message, Prompt, SamplingConfig

_RESAMPLE_TEMPERATURE = 0.3
_SHOWN_CHARACTERS = 80


class Failure(StrEnum):
    """Why a try gave no verdict; an ungraded verdict's explanation begins with it."""

    TIMEOUT = "timeout"
    UNPARSABLE = "unparsable"
    ENGINE_DIED = "engine died"
    REFUSED = "refused"
    """The engine would not take the prompt, as a rule because it is too long."""

    @property
    def is_answer(self) -> bool:
        """True when the engine is alive and said something, if nothing of use."""
        return self in (Failure.UNPARSABLE, Failure.REFUSED)

    @property
    def is_final(self) -> bool:
        """True when another try would end the same way."""
        return self is Failure.REFUSED


class _Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the judge writes."""

    explanation: str
    criteria_met: bool


class _Try(msgspec.Struct, frozen=True, kw_only=True):
    """One call to the engine and its end: an answer or a failure."""

    answer: _Answer | None = None
    failure: Failure | None = None
    detail: str = ""
    tokens: int = 0


class _Question(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked, and until when an answer is of use."""

    key: bytes
    text: str
    deadline: float
    """On the event loop's clock, seconds."""


class Judge:
    """Asks one model for verdicts, with retries, a deadline, a cache and a circuit breaker."""

    def __init__(
        self,
        generator: Generator,
        config: GradingConfig,
        name: str,
        *,
        breaker: Breaker | None = None,
        strip_thoughts: bool = True,
    ) -> None:
        """Make a judge.

        Args:
            generator: the engine or fleet that runs the judge's model.
            config: of it only the verdict's side is read; the caller starts the engines.
            name: the judge and its revision ("judge-1a2b3c4d"): verdicts are cached and reported under it.
            breaker: what holds calls back while the engine is gone.
            strip_thoughts: show the judge only what follows a response's reasoning.
        """
        self.name = name
        self._generator = generator
        self._config = config
        self._template = load_template(config.template)
        self._schema = _answer_schema(config.max_tokens)
        self._strip_thoughts = strip_thoughts
        self._breaker = breaker or Breaker()
        self._cache = VerdictCache(config.cache_size)
        self._places = asyncio.Semaphore(config.max_concurrent * config.num_engines)
        self._counts: Counter[str] = Counter()
        self._seconds = 0.0

    async def verdict(self, prompt: Prompt, response: str, criterion: Criterion) -> Verdict:
        """Whether the response meets the criterion, or UNGRADED with the reason as explanation."""
        return (await self.judge(prompt, response, criterion)).verdict

    async def judge(self, prompt: Prompt, response: str, criterion: Criterion) -> Judgement:
        """The verdict and the tokens that it cost."""
        text = render(self._template, prompt, response, criterion, strip_thoughts=self._strip_thoughts)
        key = verdict_key(self.name, self._template.text, text)
        judgement = await self._cache.get(key, lambda: self._ask(key, text))
        self._counts["verdicts"] += 1
        self._counts["cached"] += judgement.verdict.cached
        self._counts["ungraded"] += judgement.verdict.status is VerdictStatus.UNGRADED
        return judgement

    def metrics(self) -> dict[str, float]:
        """Counts since the start; shares and means are absent until there is something to divide by."""
        counts = self._counts
        metrics = {
            "verdicts": float(counts["verdicts"]),
            "retries": float(counts["retries"]),
            "judge_tokens": float(counts["tokens"]),
            "breaker_open": float(self._breaker.is_open),
        }
        metrics |= {f"tries_failed/{failure.replace(' ', '_')}": float(counts[failure]) for failure in Failure}
        if counts["verdicts"]:
            metrics["ungraded_share"] = counts["ungraded"] / counts["verdicts"]
            metrics["cache_hit_share"] = counts["cached"] / counts["verdicts"]
        if counts["asked"]:
            metrics["mean_seconds"] = self._seconds / counts["asked"]
        return metrics

    async def _ask(self, key: bytes, text: str) -> Judgement:
        """One verdict from the engine. The deadline runs from when it is the verdict's turn."""
        async with self._places:
            clock = asyncio.get_running_loop().time
            started = clock()
            question = _Question(key=key, text=text, deadline=started + self._config.request_timeout_s)
            judgement = await self._until_answered(question)
            self._seconds += clock() - started
        self._counts["asked"] += 1
        self._counts["tokens"] += judgement.judge_tokens
        return judgement

    async def _until_answered(self, question: _Question) -> Judgement:
        """Try until there is an answer, the tries are used up, or the time is."""
        clock = asyncio.get_running_loop().time
        tries = [await self._try(question, 0)]
        while _deserves_another(tries, self._config.retries) and clock() < question.deadline:
            self._counts["retries"] += 1
            num_unparsable = sum(each.failure is Failure.UNPARSABLE for each in tries)
            tries.append(await self._try(question, num_unparsable))
        return Judgement(verdict=_verdict(tries), judge_tokens=sum(each.tokens for each in tries))

    async def _try(self, question: _Question, num_unparsable: int) -> _Try:
        """One call to the engine, its end counted and reported to the breaker."""
        result = await self._call(question, num_unparsable)
        if result.failure is not None:
            self._counts[result.failure] += 1
        self._breaker.record(answered=result.failure is None or result.failure.is_answer)
        return result

    async def _call(self, question: _Question, num_unparsable: int) -> _Try:
        """Ask the engine. The guard around it holds even when the engine forgets its own deadline."""
        try:
            async with asyncio.timeout_at(question.deadline):
                await self._breaker.wait()
                result = await self._generator.generate(self._request(question, num_unparsable))
        except TimeoutError as error:
            state = ", the judge has stopped answering" if self._breaker.is_open else ""
            within = f"no verdict within {self._config.request_timeout_s:g} s{state}"
            return _Try(failure=Failure.TIMEOUT, detail=str(error) or within)
        except EngineDied as error:
            return _Try(failure=Failure.ENGINE_DIED, detail=str(error))
        except ValueError as error:
            return _Try(failure=Failure.REFUSED, detail=str(error))
        return _parsed(result)

    def _request(self, question: _Question, num_unparsable: int) -> GenerateRequest:
        """The request; after unparsable answers it is sampled warmer, since at 0 it would repeat itself."""
        temperature = max(self._config.temperature, min(1.0, _RESAMPLE_TEMPERATURE * num_unparsable))
        seed = int.from_bytes(question.key[:4]) // 2 + num_unparsable if temperature > 0 else None
        return GenerateRequest(
            request_id=f"verdict-{uuid.uuid4().hex}",
            messages=(Message(role="user", content=question.text),),
            sampling=SamplingConfig(
                temperature=temperature, max_tokens=self._config.max_tokens, json_schema=self._schema, seed=seed
            ),
            deadline_s=max(0.001, question.deadline - asyncio.get_running_loop().time()),
        )


def _deserves_another(tries: list[_Try], retries: int) -> bool:
    failure = tries[-1].failure
    return failure is not None and not failure.is_final and len(tries) <= retries


def _verdict(tries: list[_Try]) -> Verdict:
    last = tries[-1]
    if last.answer is None:
        return Verdict(status=VerdictStatus.UNGRADED, explanation=f"{last.failure}: {last.detail}")
    status = VerdictStatus.MET if last.answer.criteria_met else VerdictStatus.NOT_MET
    return Verdict(status=status, explanation=last.answer.explanation)


def _parsed(result: GenerateResult) -> _Try:
    """The engine's answer as a verdict, if it is one: JSON, whole, of the right types, nothing else."""
    tokens = len(result.prompt_token_ids) + sum(len(output.token_ids) for output in result.outputs)
    if len(result.outputs) != 1:
        detail = f"{len(result.outputs)} outputs instead of one"
        return _Try(failure=Failure.UNPARSABLE, detail=detail, tokens=tokens)
    output = result.outputs[0]
    try:
        answer = msgspec.json.decode(output.text, type=_Answer)
    except (msgspec.DecodeError, UnicodeError) as error:
        shown = output.text[:_SHOWN_CHARACTERS]
        detail = f"{error}, finish reason {output.finish_reason!r}, in {shown!r}"
        return _Try(failure=Failure.UNPARSABLE, detail=detail, tokens=tokens)
    return _Try(answer=answer, tokens=tokens)


def _answer_schema(max_tokens: int) -> str:
    """The schema of an answer. Two characters a token keep the explanation from eating up the verdict."""
    properties = {
        "explanation": {"type": "string", "maxLength": 2 * max_tokens},
        "criteria_met": {"type": "boolean"},
    }
    schema = {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
    return json.dumps(schema)
