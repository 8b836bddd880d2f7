import asyncio
import json

import pytest

from grading.breaker import Breaker
from grading.config import GradingConfig
from grading.judge import Judge
from grading.types import VerdictStatus
from rollout.engine import DeadlineExceeded, EngineDied
from tests.grading.fakes import FAILING, GOOD, MET, NOT_MET, Script, make_judge, rubric_prompt

PROMPT = rubric_prompt()
DIED = EngineDied("judge-engine-0", "killed")


def ask(judge, response="stop them", criterion=GOOD):
    return asyncio.run(judge.verdict(PROMPT, response, criterion))


@pytest.mark.parametrize(("text", "status"), [(MET, VerdictStatus.MET), (NOT_MET, VerdictStatus.NOT_MET)])
def test_a_verdict(text, status):
    script = Script(text)
    verdict = ask(make_judge(script, max_tokens=50))
    assert verdict.status is status
    assert verdict.explanation.startswith("it does")
    (request,) = script.requests
    assert request.sampling.temperature == 0.0
    assert request.sampling.max_tokens == 50
    assert json.loads(request.sampling.json_schema) == {
        "type": "object",
        "properties": {"explanation": {"type": "string", "maxLength": 100}, "criteria_met": {"type": "boolean"}},
        "required": ["explanation", "criteria_met"],
        "additionalProperties": False,
    }
    assert request.messages[0].content.endswith("criterion : says to ask a doctor")


UNPARSABLE = [
    "",
    "yes",
    "criteria_met: true",
    MET[:-1],
    MET + " or not",
    '{"criteria_met": true}',
    '{"explanation": "it does"}',
    '{"explanation": "it does", "criteria_met": "true"}',
    '{"explanation": "it does", "criteria_met": 1}',
    '{"explanation": "it does", "criteria_met": null}',
    '{"explanation": "it does", "criteria_met": true, "score": 10}',
    "[true]",
    '{"explanation": "\ud800", "criteria_met": true}',
]


@pytest.mark.parametrize("text", UNPARSABLE)
@pytest.mark.parametrize("criterion", [GOOD, FAILING])
def test_invariant_5_what_cannot_be_parsed_is_ungraded(text, criterion):
    verdict = ask(make_judge(Script(text)), criterion=criterion)
    assert verdict.status is VerdictStatus.UNGRADED
    assert verdict.explanation.startswith("unparsable: ")


def test_a_retry_after_garbage_is_sampled_differently():
    script = Script("garbage", "more", MET)
    judge = make_judge(script, retries=2)
    assert ask(judge).status is VerdictStatus.MET
    first, second, third = (request.sampling for request in script.requests)
    assert (first.temperature, first.seed) == (0.0, None)
    assert 0.0 < second.temperature < third.temperature <= 1.0
    assert second.seed != third.seed
    assert len({request.request_id for request in script.requests}) == 3
    metrics = judge.metrics()
    assert (metrics["retries"], metrics["tries_failed/unparsable"], metrics["judge_tokens"]) == (2.0, 2.0, 39.0)
    assert metrics["ungraded_share"] == 0.0


def test_a_retry_after_a_death_asks_the_same():
    script = Script(DIED, MET)
    assert ask(make_judge(script, retries=1)).status is VerdictStatus.MET
    assert [request.sampling.temperature for request in script.requests] == [0.0, 0.0]


def test_tries_are_used_up():
    script = Script(DIED)
    judge = make_judge(script, retries=2)
    verdict = ask(judge)
    assert verdict.status is VerdictStatus.UNGRADED
    assert verdict.explanation == "engine died: engine judge-engine-0 died: killed"
    assert len(script.requests) == 3
    assert judge.metrics()["ungraded_share"] == 1.0


def test_a_refused_prompt_is_not_tried_again():
    script = Script(ValueError("prompt of 9000 tokens does not fit 4096"))
    verdict = ask(make_judge(script, retries=2))
    assert verdict.explanation == "refused: prompt of 9000 tokens does not fit 4096"
    assert verdict.status is VerdictStatus.UNGRADED
    assert len(script.requests) == 1


def test_an_engine_that_names_its_deadline():
    verdict = ask(make_judge(Script(DeadlineExceeded("fleet", "generate", "verdict", 5.0))))
    assert verdict.explanation == "timeout: fleet.generate did not answer within 5 s (verdict)"


def test_an_engine_that_forgets_its_deadline():
    script = Script(MET, delay_s=60.0)
    verdict = ask(make_judge(script, request_timeout_s=0.02, retries=2))
    assert verdict.status is VerdictStatus.UNGRADED
    assert verdict.explanation == "timeout: no verdict within 0.02 s"
    assert len(script.requests) == 1
    assert 0.0 < script.requests[0].deadline_s <= 0.02


def test_an_error_outside_the_contract_is_not_swallowed():
    with pytest.raises(RuntimeError, match="a bug"):
        ask(make_judge(Script(RuntimeError("a bug"))))


def test_no_more_verdicts_under_way_than_allowed():
    under_way, most = 0, 0

    class Counting(Script):
        async def generate(self, request):
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            try:
                return await super().generate(request)
            finally:
                under_way -= 1

    async def many():
        judge = make_judge(Counting(MET), max_concurrent=2, num_engines=2)
        await asyncio.gather(*(judge.verdict(PROMPT, f"response {number}", GOOD) for number in range(12)))

    asyncio.run(many())
    assert most == 4


def test_waiting_for_a_turn_does_not_use_up_the_deadline():
    async def many():
        judge = make_judge(Script(MET, delay_s=0.02), max_concurrent=1, request_timeout_s=0.05)
        return await asyncio.gather(*(judge.verdict(PROMPT, f"response {number}", GOOD) for number in range(5)))

    assert {verdict.status for verdict in asyncio.run(many())} == {VerdictStatus.MET}


def test_the_breaker_opens_probes_and_recovers():
    async def story():
        script = Script(DIED, DIED, DIED, MET)
        config = GradingConfig(template="miniature", retries=0)
        judge = Judge(script, config, "judge-1", breaker=Breaker(threshold=2, pause_s=0.01))
        verdicts = [await judge.verdict(PROMPT, "first", GOOD), await judge.verdict(PROMPT, "second", GOOD)]
        opened = judge.metrics()["breaker_open"]
        verdicts.append(await judge.verdict(PROMPT, "failed probe", GOOD))
        verdicts += await asyncio.gather(*(judge.verdict(PROMPT, f"waits {number}", GOOD) for number in range(3)))
        return verdicts, opened, judge.metrics()["breaker_open"]

    verdicts, opened, closed = asyncio.run(story())
    assert (opened, closed) == (1.0, 0.0)
    assert [verdict.status for verdict in verdicts] == [VerdictStatus.UNGRADED] * 3 + [VerdictStatus.MET] * 3


def test_an_open_breaker_lets_one_probe_through_at_a_time():
    now = 0.0
    breaker = Breaker(threshold=2, pause_s=10.0, clock=lambda: now)
    breaker.record(answered=False)
    breaker.record(answered=True)
    breaker.record(answered=False)
    assert breaker.admits()
    breaker.record(answered=False)
    assert breaker.is_open
    assert not breaker.admits()
    now = 10.0
    assert [breaker.admits(), breaker.admits()] == [True, False]
    breaker.record(answered=False)
    assert not breaker.admits()
    now = 20.0
    assert breaker.admits()
    breaker.record(answered=True)
    assert [breaker.admits(), breaker.admits()] == [True, True]


def test_who_waits_at_an_open_breaker_keeps_its_deadline():
    async def story():
        script = Script(DIED)
        config = GradingConfig(template="miniature", retries=0, request_timeout_s=0.03)
        judge = Judge(script, config, "judge-1", breaker=Breaker(threshold=1, pause_s=60.0))
        await judge.verdict(PROMPT, "first", GOOD)
        return await judge.verdict(PROMPT, "second", GOOD), len(script.requests)

    verdict, num_requests = asyncio.run(asyncio.wait_for(story(), 5.0))
    assert verdict.explanation == "timeout: no verdict within 0.03 s, the judge has stopped answering"
    assert num_requests == 1


def test_garbage_does_not_open_the_breaker():
    async def story():
        judge = Judge(
            Script("garbage"), GradingConfig(template="miniature", retries=0), "judge-1", breaker=Breaker(threshold=2)
        )
        for number in range(5):
            await judge.verdict(PROMPT, f"response {number}", GOOD)
        return judge.metrics()

    metrics = asyncio.run(story())
    assert (metrics["breaker_open"], metrics["ungraded_share"]) == (0.0, 1.0)


def test_metrics_say_nothing_where_there_is_nothing_to_say():
    metrics = make_judge(Script(MET)).metrics()
    assert metrics["verdicts"] == 0.0
    assert not {"ungraded_share", "cache_hit_share", "mean_seconds"} & set(metrics)
