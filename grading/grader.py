"""The grader: every completion of a group gets a grade, from a program or from the judge."""

import asyncio
from collections import Counter
from collections.abc import Sequence

from grading.cache import Judgement
from grading.judge import Judge
from grading.rubric import rubric_score
from grading.templates import without_think_blocks
from grading.types import Check, Grade, VerdictStatus
from grading.verifiers import verify
from rollout.types import GradedGroup, Prompt, RolloutGroup


class Grader:
    """Grades what has a check at once, and what has a rubric with the judge."""

    def __init__(self, judge: Judge | None) -> None:
        """Make a grader; without a judge it can only grade prompts that have a check."""
        self._judge = judge
        self._counts: Counter[str] = Counter()

    async def grade(self, group: RolloutGroup) -> GradedGroup:
        """One grade for each completion, in the same order.

        Raises:
            ValueError: the prompt has a rubric and there is no judge, or its check is malformed.
        """
        ids = [completion.completion_id for completion in group.completions]
        texts = [completion.text for completion in group.completions]
        return GradedGroup(group=group, grades=await self._grades(group.slot.prompt, ids, texts))

    async def grade_text(self, prompt: Prompt, text: str) -> Grade:
        """The grade of one answer to the prompt; it bears the prompt's id. Raises as `grade` does."""
        return (await self._grades(prompt, [prompt.prompt_id], [text]))[0]

    def metrics(self) -> dict[str, float]:
        """Counts since the start, the judge's among them."""
        own = {name: float(self._counts[name]) for name in ("grades", "grades_verified", "grades_ungraded")}
        return own | (self._judge.metrics() if self._judge else {})

    async def _grades(self, prompt: Prompt, ids: Sequence[str], texts: Sequence[str]) -> tuple[Grade, ...]:
        pairs = list(zip(ids, texts, strict=True))
        if prompt.check is not None:
            grades = tuple(_verified(identity, text, prompt.check) for identity, text in pairs)
        else:
            judged = await self._judged(prompt, texts)
            judge = self._judge.name if self._judge else ""
            grades = tuple(_scored(i, prompt, each, judge) for i, each in zip(ids, judged, strict=True))
        self._counts["grades"] += len(grades)
        self._counts["grades_verified"] += len(grades) if prompt.check is not None else 0
        self._counts["grades_ungraded"] += sum(grade.reward is None for grade in grades)
        return grades

    async def _judged(self, prompt: Prompt, texts: Sequence[str]) -> list[list[Judgement]]:
        """Judgements of each text, in the rubric's order.

        They are asked for criterion by criterion: by the time a response's second criterion is up,
        its first has left their common prefix in the engine's cache.
        """
        judge = self._judge
        if judge is None:
            raise ValueError(f"prompt {prompt.prompt_id!r} has a rubric, but this grader has no judge; give it one")
        async with asyncio.TaskGroup() as tasks:
            by_criterion = [
                [tasks.create_task(judge.judge(prompt, text, criterion)) for text in texts]
                for criterion in prompt.criteria
            ]
        return [[row[number].result() for row in by_criterion] for number in range(len(texts))]


def _verified(completion_id: str, text: str, check: Check) -> Grade:
    reward = float(verify(without_think_blocks(text), check))
    return Grade(completion_id=completion_id, reward=reward, judge=f"verifier:{check.kind}")


def _scored(completion_id: str, prompt: Prompt, judgements: Sequence[Judgement], judge: str) -> Grade:
    verdicts = tuple(judgement.verdict for judgement in judgements)
    failed = [verdict.explanation for verdict in verdicts if verdict.status is VerdictStatus.UNGRADED]
    return Grade(
        completion_id=completion_id,
        reward=rubric_score(prompt.criteria, verdicts),
        verdicts=verdicts,
        judge=judge,
        reason=f"{len(failed)} of {len(verdicts)} criteria ungraded; first: {failed[0]}" if failed else "",
        judge_tokens=sum(judgement.judge_tokens for judgement in judgements),
    )
