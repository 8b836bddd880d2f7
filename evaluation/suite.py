"""Runs evaluations on one checkpoint: every item is generated, graded, counted, and nothing is made up.

A sample that could not be generated or graded is *ungraded*, with a reason: it is counted and never becomes
a number. A sample's score is the grader's reward as it is, which a rubric with negative points may push below
0; only the mean is clipped to [0, 1], as HealthBench does (arXiv:2505.08775).
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple, Protocol, TypeVar

import msgspec

from evaluation.refusals import is_refusal
from evaluation.statistics import clustered_standard_error
from evaluation.types import Evaluation, EvaluationResult, SampleScore
from grading.types import Grade
from rollout.engine import DeadlineExceeded, Generator
from rollout.types import GenerateRequest, GenerateResult, Prompt, SamplingConfig

T = TypeVar("T")


class TextGrader(Protocol):
    """Anything that grades one response to one prompt."""

    async def grade_text(self, prompt: Prompt, text: str) -> Grade:
        """Grade `text` as the answer to `prompt`; `reward` is None when it could not be graded."""
        ...


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """The checkpoint that is evaluated, as it is named in the results."""

    run: str
    arm: str
    seed: int
    checkpoint: str
    """Content hash of the checkpoint's weights."""
    step: int


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How much may be under way, and for how long."""

    temperature: float = 1.0
    max_items: int = 0
    """Most items of one evaluation, taken evenly; 0: all."""
    max_concurrent: int = 64
    """Most items under way at once, over all evaluations of a suite."""
    timeout_s: float = 3600.0
    """Seconds for everything; what is not done by then is ungraded, with that as its reason."""


class Outcome(NamedTuple):
    """What one evaluation of one checkpoint gave."""

    score: float | None
    """Mean of the graded samples, clipped to [0, 1]; None when none was graded."""
    stderr: float | None
    """Of the unclipped mean, clustered on the item; None under two graded items."""
    samples: tuple[SampleScore, ...]
    judge: str
    """Who graded; several names (verifiers of several kinds) are joined with "+"."""
    generated_tokens: int
    judge_tokens: int


class _Item(NamedTuple):
    """One item's samples with what they cost."""

    samples: tuple[SampleScore, ...]
    judges: frozenset[str]
    generated_tokens: int
    judge_tokens: int


class _Run(NamedTuple):
    """What all items of a suite share."""

    generator: Generator
    grader: TextGrader
    temperature: float
    gate: asyncio.Semaphore
    deadline: float
    """On the clock of `time.monotonic`."""

    def seconds_left(self) -> float:
        return self.deadline - time.monotonic()


def thin(items: Sequence[T], most: int) -> tuple[T, ...]:
    """At most `most` items, taken evenly over the sequence; 0 takes all."""
    if most <= 0 or len(items) <= most:
        return tuple(items)
    return tuple(items[index * len(items) // most] for index in range(most))


async def run_evaluation(
    evaluation: Evaluation, generator: Generator, grader: TextGrader, limits: Limits | None = None
) -> Outcome:
    """Generate and grade every item of one evaluation.

    Raises:
        EngineDied: the engine is gone. That says nothing about the model, so no partial score is made of it:
            the caller replaces the engine and evaluates the checkpoint again.
    """
    limits = limits or Limits()
    return await _run_evaluation(evaluation, limits.max_items, _start(generator, grader, limits))


async def run_suite(
    evaluations: Sequence[Evaluation],
    generator: Generator,
    grader: TextGrader,
    subject: Subject,
    limits: Limits | None = None,
) -> AsyncIterator[EvaluationResult]:
    """Yield each evaluation's result as it finishes; all of them share `limits`.

    Leaving the iterator early cancels what is under way.

    Raises:
        EngineDied: as in `run_evaluation`.
    """
    limits = limits or Limits()
    run = _start(generator, grader, limits)
    tasks = [asyncio.create_task(_named(evaluation, limits.max_items, run, subject)) for evaluation in evaluations]
    try:
        for next_done in asyncio.as_completed(tasks):
            yield await next_done
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _start(generator: Generator, grader: TextGrader, limits: Limits) -> _Run:
    deadline = time.monotonic() + limits.timeout_s
    return _Run(generator, grader, limits.temperature, asyncio.Semaphore(limits.max_concurrent), deadline)


async def _named(evaluation: Evaluation, max_items: int, run: _Run, subject: Subject) -> EvaluationResult:
    outcome = await _run_evaluation(evaluation, max_items, run)
    graded = sum(sample.score is not None for sample in outcome.samples)
    return EvaluationResult(
        **msgspec.structs.asdict(subject),
        evaluation=evaluation.name,
        family=evaluation.family,
        role=evaluation.role,
        score=outcome.score,
        stderr=outcome.stderr,
        num_samples=graded,
        num_ungraded=len(outcome.samples) - graded,
        judge=outcome.judge,
        samples=outcome.samples,
    )


async def _run_evaluation(evaluation: Evaluation, max_items: int, run: _Run) -> Outcome:
    items = await _all_items(evaluation, thin(evaluation.items, max_items), run)
    samples = tuple(sample for item in items for sample in item.samples)
    score, stderr = summarize(samples)
    judges = frozenset[str]().union(*(item.judges for item in items))
    return Outcome(
        score=score,
        stderr=stderr,
        samples=samples,
        judge="+".join(sorted(judges)),
        generated_tokens=sum(item.generated_tokens for item in items),
        judge_tokens=sum(item.judge_tokens for item in items),
    )


async def _all_items(evaluation: Evaluation, chosen: Sequence[Prompt], run: _Run) -> list[_Item]:
    """All items, or the first failure by itself with everything else cancelled."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_run_item(evaluation, item, run)) for item in chosen]
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [task.result() for task in tasks]


def summarize(samples: Sequence[SampleScore]) -> tuple[float | None, float | None]:
    """Clipped mean of the graded samples, and its standard error clustered on the item."""
    graded = [(sample.score, sample.item_id) for sample in samples if sample.score is not None]
    if not graded:
        return None, None
    scores, items = zip(*graded, strict=True)
    return min(1.0, max(0.0, sum(scores) / len(scores))), clustered_standard_error(scores, items)


async def _run_item(evaluation: Evaluation, item: Prompt, run: _Run) -> _Item:
    async with run.gate:
        try:
            answer = await _generate(evaluation, item, run)
        except (DeadlineExceeded, ValueError) as failure:
            return _failed(item, evaluation.num_samples, f"generation: {failure}")
        tokens = sum(len(output.token_ids) for output in answer.outputs)
        grades = [_grade(item, output.text, run) for output in answer.outputs]
        scored = await asyncio.gather(*grades)
    judges = frozenset(grade.judge for _, grade in scored if grade.judge)
    return _Item(tuple(sample for sample, _ in scored), judges, tokens, sum(grade.judge_tokens for _, grade in scored))


async def _generate(evaluation: Evaluation, item: Prompt, run: _Run) -> GenerateResult:
    left = run.seconds_left()
    if left <= 0:
        raise DeadlineExceeded("suite", "generate", f"item {item.prompt_id} was never sent", 0.0)
    sampling = SamplingConfig(
        temperature=run.temperature, max_tokens=evaluation.max_tokens, num_samples=evaluation.num_samples
    )
    request = GenerateRequest(
        request_id=f"{evaluation.name}/{item.prompt_id}", messages=item.messages, sampling=sampling, deadline_s=left
    )
    return await run.generator.generate(request)


def _failed(item: Prompt, num_samples: int, reason: str) -> _Item:
    sample = SampleScore(item_id=item.prompt_id, text="", score=None, reason=reason)
    return _Item((sample,) * num_samples, frozenset(), 0, 0)


async def _grade(item: Prompt, text: str, run: _Run) -> tuple[SampleScore, Grade]:
    try:
        async with asyncio.timeout(max(0.0, run.seconds_left())):
            grade = await run.grader.grade_text(item, text)
    except TimeoutError as late:
        grade = Grade(completion_id="", reward=None, reason=f"grading: {str(late) or 'the time of the suite was up'}")
    sample = SampleScore(
        item_id=item.prompt_id, text=text, score=grade.reward, reason=grade.reason, is_refusal=is_refusal(text)
    )
    return sample, grade
