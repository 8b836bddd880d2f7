import asyncio

from grading.cache import Judgement, VerdictCache, verdict_key
from grading.types import Verdict, VerdictStatus
from tests.grading.fakes import GOOD, MET, Script, make_judge, rubric_prompt

PROMPT = rubric_prompt()


class Asked:
    """Counts how often it is asked."""

    def __init__(self, status=VerdictStatus.MET, delay_s=0.0):
        self.status, self.delay_s, self.count = status, delay_s, 0

    async def __call__(self):
        self.count += 1
        await asyncio.sleep(self.delay_s)
        return Judgement(verdict=Verdict(status=self.status), judge_tokens=13)


def test_a_finding_is_kept_and_costs_nothing_the_second_time():
    async def story():
        cache, asked = VerdictCache(8), Asked(VerdictStatus.NOT_MET)
        return [await cache.get(b"k", asked) for _ in range(2)], asked.count

    (first, second), count = asyncio.run(story())
    assert count == 1
    assert (first.verdict.cached, first.judge_tokens) == (False, 13)
    assert (second.verdict.cached, second.judge_tokens) == (True, 0)
    assert second.verdict.status is VerdictStatus.NOT_MET


def test_ungraded_is_not_kept():
    async def story():
        cache, asked = VerdictCache(8), Asked(VerdictStatus.UNGRADED)
        await cache.get(b"k", asked)
        asked.status = VerdictStatus.MET
        return (await cache.get(b"k", asked)).verdict, asked.count

    verdict, count = asyncio.run(story())
    assert (verdict.status, verdict.cached, count) == (VerdictStatus.MET, False, 2)


def test_single_flight():
    async def story(status):
        cache, asked = VerdictCache(8), Asked(status, delay_s=0.01)
        found = await asyncio.gather(*(cache.get(b"k", asked) for _ in range(5)))
        return asked.count, [(each.verdict.cached, each.judge_tokens) for each in found], found

    count, costs, _ = asyncio.run(story(VerdictStatus.MET))
    assert count == 1
    assert costs == [(False, 13)] + [(True, 0)] * 4
    count, costs, found = asyncio.run(story(VerdictStatus.UNGRADED))
    assert count == 1
    assert costs == [(False, 13)] + [(False, 0)] * 4
    assert {each.verdict.status for each in found} == {VerdictStatus.UNGRADED}


def test_a_cancelled_caller_does_not_take_the_others_with_it():
    async def story():
        cache, asked = VerdictCache(8), Asked(delay_s=0.01)
        first = asyncio.create_task(cache.get(b"k", asked))
        second = asyncio.create_task(cache.get(b"k", asked))
        await asyncio.sleep(0)
        first.cancel()
        return (await second).verdict.status, asked.count, len(cache)

    assert asyncio.run(story()) == (VerdictStatus.MET, 1, 1)


def test_an_error_reaches_every_caller_and_leaves_no_trace():
    async def story():
        async def fails():
            await asyncio.sleep(0.001)
            raise RuntimeError("a bug")

        cache, asked = VerdictCache(8), Asked()
        found = await asyncio.gather(cache.get(b"k", fails), cache.get(b"k", fails), return_exceptions=True)
        return found, (await cache.get(b"k", asked)).verdict.status

    found, status = asyncio.run(story())
    assert [str(error) for error in found] == ["a bug", "a bug"]
    assert status is VerdictStatus.MET


def test_the_one_used_longest_ago_goes_first():
    async def story():
        cache, asked = VerdictCache(2), Asked()
        for key in (b"a", b"b", b"a", b"c"):
            await cache.get(key, asked)
        before = asked.count
        await cache.get(b"a", asked)
        assert (before, asked.count, len(cache)) == (3, 3, 2)
        await cache.get(b"b", asked)
        return asked.count

    assert asyncio.run(story()) == 4


def test_size_0_always_asks():
    async def story():
        cache, asked = VerdictCache(0), Asked()
        await asyncio.gather(*(cache.get(b"k", asked) for _ in range(3)))
        return asked.count, len(cache)

    assert asyncio.run(story()) == (3, 0)


def test_keys_separate_judges_templates_and_prompts():
    keys = {
        verdict_key("judge", "template", "prompt"),
        verdict_key("judge-2", "template", "prompt"),
        verdict_key("judge", "template-2", "prompt"),
        verdict_key("judge", "template", "prompt-2"),
        verdict_key("judgetemplate", "", "prompt"),
        verdict_key("judge", "templateprompt", ""),
    }
    assert len(keys) == 6


def test_a_judge_asks_the_engine_once_for_the_same_verdict():
    async def story():
        script = Script(MET)
        judge = make_judge(script)
        for response in ("yes", "yes", "no"):
            await judge.verdict(PROMPT, response, GOOD)
        return len(script.requests), judge.metrics()

    num_requests, metrics = asyncio.run(story())
    assert num_requests == 2
    assert metrics["cache_hit_share"] == 1 / 3
    assert metrics["judge_tokens"] == 26.0
