"""Real vLLM engines, a real sender: generation, checkpoints, weight sync, death and replacement."""

import asyncio
import math
import os
import random

import pytest
import torch

from learner.weight_source import WeightSender
from rollout.config import EngineConfig, SyncConfig
from rollout.engine import DeadlineExceeded, EngineDied
from rollout.engine_environment import engine_environment
from rollout.fleet import EngineState, Fleet
from rollout.types import GenerateRequest, Message, SamplingConfig
from rollout.weight_sync import WeightSync, largest_difference
from tests.support.tiny_model import make_tiny_model

pytestmark = pytest.mark.slow

CONFIG = EngineConfig(max_model_len=512, max_num_seqs=64, kv_cache_gib=0.25)
TOLERANCE = 0.02
PROBE = random.Random(0).choices(range(320), k=64)
QUESTION = (Message(role="user", content="what is 2 plus 3 ? the quick brown fox jumps over the lazy dog"),)


@pytest.fixture(scope="module")
def loop():
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module", autouse=True)
def environment():
    patch = pytest.MonkeyPatch()
    for name, value in (engine_environment(CONFIG, "cpu") | {"HF_HUB_OFFLINE": "1"}).items():
        patch.setenv(name, value)
    yield
    patch.undo()


def start_engine(loop, name, path):
    from rollout.vllm_engine import VllmEngine

    return loop.run(VllmEngine.start(name, str(path), CONFIG, "cpu", "gloo"))


def load(path):
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(path, dtype=torch.bfloat16).eval()


@torch.no_grad()
def logprobs_of(model, token_ids, temperature=1.0):
    logits = model.float()(torch.tensor([list(token_ids)])).logits[0, :-1] / temperature
    return torch.log_softmax(logits, dim=-1).gather(1, torch.tensor(token_ids)[1:, None])[:, 0].tolist()


class Learner:
    """The learner's side, in threads of the test's process."""

    def __init__(self, model):
        self.model = model
        self.sender = WeightSender(lambda: self.model.named_parameters(), 0, torch.bfloat16)

    async def rendezvous(self):
        return self.sender.rendezvous("127.0.0.1")

    async def manifest(self):
        return self.sender.manifest()

    async def connect(self, group):
        await asyncio.to_thread(self.sender.connect, group)

    async def send(self, version):
        return await asyncio.to_thread(self.sender.send, version)

    async def logprobs(self, token_ids):
        return logprobs_of(self.model, token_ids)


class World:
    """One engine, another set of weights that a learner holds, and the fleet and sync between them."""

    def __init__(self, loop, folder, tied):
        self.old = make_tiny_model(folder / "old", tied, seed=0)
        self.new = make_tiny_model(folder / "new", tied, seed=1)
        self.learner = Learner(load(self.new))
        self.engine = start_engine(loop, "engine-0", self.old)
        self.fleet = Fleet()
        self.fleet.add("engine-0", self.engine, max_concurrent=16)
        self.sync = WeightSync(self.learner, self.fleet, SyncConfig(parity_tolerance=TOLERANCE, timeout_s=60.0), PROBE)
        self.sync.attach("engine-0", self.engine)


@pytest.fixture(scope="module", params=[False, True], ids=["untied", "tied"])
def world(request, loop, tmp_path_factory):
    world = World(loop, tmp_path_factory.mktemp("models"), request.param)
    yield world
    world.engine.stop()


def request(request_id="r", messages=QUESTION, deadline_s=60.0, **sampling):
    return GenerateRequest(
        request_id=request_id, messages=messages, sampling=SamplingConfig(**sampling), deadline_s=deadline_s
    )


def gap_of_sampled(model, result, temperature):
    """Largest difference between an answer's own log-probabilities and a model's, over all its samples."""
    gaps = []
    for output in result.outputs:
        ids = [*result.prompt_token_ids, *output.token_ids]
        expected = logprobs_of(model, ids, temperature)[-len(output.token_ids) :]
        gaps.append(largest_difference(expected, output.logprobs))
    return max(gaps)


def test_logprobs_are_those_of_the_model_at_the_temperature(world, loop):
    result = loop.run(world.engine.generate(request(max_tokens=24, num_samples=4, temperature=0.7)))
    assert len({output.token_ids for output in result.outputs}) == 4
    assert gap_of_sampled(load(world.old), result, 0.7) < TOLERANCE
    assert gap_of_sampled(load(world.old), result, 1.0) > 0.1


def test_score_equals_the_model(world, loop):
    assert largest_difference(logprobs_of(load(world.old), PROBE), loop.run(world.engine.score(PROBE))) < TOLERANCE


def test_structured_output_satisfies_the_schema(world, loop):
    schema = '{"type":"object","properties":{"met":{"type":"boolean"}},"required":["met"],"additionalProperties":false}'
    result = loop.run(world.engine.generate(request(max_tokens=40, num_samples=4, json_schema=schema)))
    assert {output.text for output in result.outputs} <= {'{"met": true}', '{"met": false}'}
    assert all(output.finish_reason == "stop" for output in result.outputs)


def test_schema_that_cannot_be_followed_is_refused(world, loop):
    with pytest.raises(ValueError, match="engine engine-0 refused the request"):
        loop.run(world.engine.generate(request(json_schema='{"type": "nonsense"}')))


def test_settings_that_do_not_fit_are_refused(tmp_path, loop):
    from rollout.vllm_engine import VllmEngine

    with pytest.raises(ValueError, match="sleep_mode frees GPU memory and needs device cuda"):
        loop.run(VllmEngine.start("e", str(tmp_path), EngineConfig(sleep_mode=True), "cpu"))
    with pytest.raises(ValueError, match="engine e cannot be started with"):
        loop.run(VllmEngine.start("e", str(tmp_path / "nothing"), CONFIG, "cpu"))


def test_refused_prompts_name_the_lengths(world, loop):
    long = GenerateRequest(request_id="long", prompt_token_ids=tuple([5] * 600), sampling=SamplingConfig())
    with pytest.raises(ValueError, match=r"prompt has 600 tokens and the engine's context 512"):
        loop.run(world.engine.generate(long))
    with pytest.raises(ValueError, match="neither messages nor prompt_token_ids"):
        loop.run(world.engine.generate(request(messages=())))


def test_deadline_aborts_the_request(world, loop):
    with pytest.raises(DeadlineExceeded, match=r"engine-0.generate did not answer within 0.05 s"):
        loop.run(world.engine.generate(request(max_tokens=450, num_samples=32, deadline_s=0.05)))
    assert loop.run(drained(world.engine)) == 0


async def drained(engine):
    await engine.generate(request(max_tokens=1))
    return engine._llm.get_num_unfinished_requests()


def test_sync_with_requests_in_flight(world, loop):
    """Answers under way carry both versions; those after it come from the new weights alone, cache included."""

    async def scenario():
        before = await world.engine.generate(request("before", max_tokens=8))
        flying = [
            asyncio.create_task(world.fleet.generate(request(f"f{index}", max_tokens=300, num_samples=4)))
            for index in range(4)
        ]
        await asyncio.sleep(0.3)
        report = await world.sync.sync(7)
        return (
            before,
            report,
            await asyncio.gather(*flying),
            await world.fleet.generate(request("after", max_tokens=24, num_samples=4)),
        )

    assert largest_difference(logprobs_of(world.learner.model, PROBE), loop.run(world.engine.score(PROBE))) > 0.5
    before, report, flown, after = loop.run(scenario())
    assert report.verified == ("engine-0",)
    assert report.failed == {}
    assert report.parity["engine-0"] < TOLERANCE
    assert (before.min_policy_version, before.max_policy_version) == (0, 0)
    assert {(result.min_policy_version, result.max_policy_version) for result in flown} == {(0, 7)}
    assert all(math.isfinite(value) for result in flown for out in result.outputs for value in out.logprobs)
    assert (after.min_policy_version, after.max_policy_version) == (7, 7)
    assert gap_of_sampled(world.learner.model, after, 1.0) < TOLERANCE


def test_second_sync_uses_the_same_group_and_is_quick(world, loop):
    group = world.sync._group
    report = loop.run(world.sync.sync(8))
    assert report.verified == ("engine-0",)
    assert world.sync._group == group == ("engine-0",)
    assert report.seconds < 10


def test_reload_takes_another_checkpoint(world, loop, tmp_path):
    loop.run(world.engine.reload(str(world.new), version=2))
    scores = loop.run(world.engine.score(PROBE))
    assert largest_difference(logprobs_of(load(world.new), PROBE), scores) < TOLERANCE
    loop.run(world.engine.reload(str(world.old), version=3))
    scores = loop.run(world.engine.score(PROBE))
    assert largest_difference(logprobs_of(load(world.old), PROBE), scores) < TOLERANCE
    assert world.engine.policy_version == 3
    other = make_tiny_model(tmp_path / "other", hidden_size=64)
    with pytest.raises(ValueError, match="hidden_size 64, not 128"):
        loop.run(world.engine.reload(str(other)))
    with pytest.raises(ValueError, match=r"no config\.json"):
        loop.run(world.engine.reload(str(tmp_path)))
    assert loop.run(world.engine.score(PROBE)) == scores


def test_killed_engine_is_quarantined_and_its_replacement_catches_up(loop, tmp_path):
    world = World(loop, tmp_path, tied=False)
    second = start_engine(loop, "engine-1", world.old)
    world.fleet.add("engine-1", second, max_concurrent=16)
    world.sync.attach("engine-1", second)
    assert loop.run(world.sync.sync(1)).verified == ("engine-0", "engine-1")

    kill(second)
    report = loop.run(world.sync.sync(2))
    assert report.verified == ("engine-0",)
    assert "EngineDied" in report.failed["engine-1"]
    assert world.fleet.states()["engine-1"] is EngineState.QUARANTINED
    with pytest.raises(EngineDied, match="engine engine-1 died"):
        loop.run(second.generate(request()))
    with pytest.raises(EngineDied):
        loop.run(second.health())
    second.stop()

    third = start_engine(loop, "engine-2", world.old)
    loop.run(world.sync.catch_up("engine-2", third, 2, lambda: world.fleet.add("engine-2", third, max_concurrent=16)))
    assert third.policy_version == 2
    report = loop.run(world.sync.sync(3))
    assert report.verified == ("engine-0", "engine-2")
    assert max(report.parity.values()) < TOLERANCE
    for engine in (world.engine, third):
        engine.stop()


def kill(engine):
    for process in engine._llm.engine_core.resources.engine_manager.processes:
        os.kill(process.pid, 9)
        process.join(10)
