"""The live actors of an experiment: engines and evaluators start once and serve all its runs.

Only the learner is new for each run. Order of placement: learner ranks, rollout, grader, evaluators.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from actors.cluster import namespace
from actors.config import Config
from actors.evaluators import EvaluationListener, EvaluatorPool, JudgeAddress
from actors.fleets import EngineKeeper
from actors.handles import RemoteEngine, RemoteEvaluator, RemoteLearner
from actors.models import Models
from actors.placement import bundles, reserve
from actors.shells import EngineActor, EvaluatorActor, LearnerActor
from actors.tasks import task_group
from actors.turns import Switch, Turn, Turns, TurnTaking, no_turns
from evaluation.types import Evaluation
from grading.grader import Grader
from grading.judge import Judge
from learner.environment import learner_environment
from rollout.config import EngineConfig
from rollout.engine import Generator
from rollout.engine_environment import engine_environment

ENGINES = ("rollout", "grader", "evaluation")


class Session:
    """Starts and ends the actors. Ray must be connected."""

    def __init__(
        self,
        config: Config,
        models: Models,
        evaluations: Sequence[Evaluation],
        listener: EvaluationListener,
        note: Callable[[str], None],
    ) -> None:
        """Reserve the placement; actors start with `start`."""
        self._config, self.models = config, models
        self._bundles = bundles(config)
        self._placement = reserve(self._bundles, config.cluster.placement_timeout_s)
        self._learner: RemoteLearner | None = None
        self.turn: Turn = Turns(self._switches("wake"), self._switches("sleep")).hold if self._shares else no_turns
        self.rollout = EngineKeeper(
            self._names("rollout-engine"), self._spawn_rollout, config.rollout.max_concurrent_groups,
            config.rollout.engine.start_timeout_s, note,
        )  # fmt: skip
        self.graders = EngineKeeper(
            self._names("grader-engine"), self._spawn_grader, config.grading.max_concurrent,
            config.grading.engine.start_timeout_s, note,
        )  # fmt: skip
        self.grader = Grader(Judge(self._turns(self.graders.fleet, "grader"), config.grading, models.judge_name))
        self.generator: Generator = self._turns(self.rollout.fleet, "rollout")
        self._evaluations = tuple(evaluations)
        self._evaluators = [self._evaluator(name) for name in self._names("evaluator")]
        self.pool = EvaluatorPool(self._evaluators, [evaluation.name for evaluation in evaluations], listener)

    @property
    def num_engine_starts(self) -> int:
        """Engines started so far, replacements included."""
        return self.rollout.num_starts + self.graders.num_starts

    async def start(self) -> None:
        """Start all engines: together, or one after another where they share a card."""
        starts = [self.rollout.start, self.graders.start, *(evaluator.start for evaluator in self._evaluators)]
        if not self._shares:
            await asyncio.gather(*(start() for start in starts))
        else:
            await self._start_in_turn()
        self.pool.start()

    async def _start_in_turn(self) -> None:
        """Start the engines that share a card one fleet after another, each put to sleep before the next."""
        await self.rollout.start()
        await self._sleep_all(self.rollout.engines.values())
        await self.graders.start()
        await self._sleep_all(self.graders.engines.values())
        for evaluator in self._evaluators:
            await evaluator.start()
            await evaluator.sleep()

    @staticmethod
    async def _sleep_all(engines: Iterable[RemoteEngine]) -> None:
        await asyncio.gather(*(engine.sleep() for engine in engines))

    async def new_learner(self, config: Config) -> RemoteLearner:
        """Start a learner for one run in place of the last one."""
        if self._learner is not None:
            await self._learner.stop()
        environment = learner_environment(config.learner, config.cluster.device)
        ranks = [self._spawn_rank(rank, config, environment) for rank in range(config.learner.num_ranks)]
        self._learner = RemoteLearner(
            ranks, config.sync.timeout_s, config.learner.step_timeout_s, config.rollout.sampling.temperature
        )
        await self._learner.start(config.rollout.engine.trust_remote_code, config.rollout.engine.start_timeout_s)
        return self._learner

    async def watch(self) -> None:
        """Keep both fleets alive until cancelled."""
        async with task_group() as group:
            group.create_task(self.rollout.watch(), name="rollout fleet")
            group.create_task(self.graders.watch(), name="grader fleet")

    async def stop(self) -> None:
        """End all actors; whoever is dead already is passed over."""
        await self.pool.stop()
        ending = [self.rollout.stop(), self.graders.stop(), *(evaluator.stop() for evaluator in self._evaluators)]
        if self._learner is not None:
            ending.append(self._learner.stop())
        await asyncio.gather(*ending, return_exceptions=True)

    @property
    def _shares(self) -> bool:
        return self._config.cluster.share_gpu

    def _names(self, kind: str) -> tuple[str, ...]:
        return tuple(bundle.actor for bundle in self._bundles if bundle.actor.rpartition("-")[0] == kind)

    def _options(self, actor: str, environment: dict[str, str], named: bool = True) -> dict[str, Any]:
        index = next(index for index, bundle in enumerate(self._bundles) if bundle.actor == actor)
        bundle = self._bundles[index]
        options: dict[str, Any] = {
            "num_cpus": bundle.cpus,
            "num_gpus": bundle.gpus,
            "scheduling_strategy": PlacementGroupSchedulingStrategy(self._placement, index),
            "runtime_env": {"env_vars": environment},
        }
        return options | ({"name": actor, "namespace": namespace(self._config)} if named else {})

    def _spawn_rollout(self, name: str) -> RemoteEngine:
        return self._spawn(name, self.models.policy, self._config.rollout.engine, self._config.sync.backend)

    def _spawn_grader(self, name: str) -> RemoteEngine:
        return self._spawn(name, self.models.judge, self._config.grading.engine, None)

    def _spawn(self, name: str, model: str, engine: EngineConfig, transfer: str | None) -> RemoteEngine:
        options = self._options(name, self._engine_environment(engine))
        handle = EngineActor.options(**options).remote(name, model, engine, self._config.cluster.device, transfer)  # type: ignore[attr-defined]
        return RemoteEngine(name, handle, self._config.sync.timeout_s)

    def _spawn_rank(self, rank: int, config: Config, environment: dict[str, str]) -> Any:
        """A learner rank; unnamed, because the last run's rank may still be ending."""
        options = self._options(f"learner-rank-{rank}", environment, named=False)
        arguments = (config.cluster.device, config.seed, config.sync.backend, config.rollout.engine.dtype)
        return LearnerActor.options(**options).remote(self.models.policy, config.learner, rank, *arguments)  # type: ignore[attr-defined]

    def _evaluator(self, name: str) -> RemoteEvaluator:
        config = self._config
        judge = JudgeAddress(
            name=self.models.judge_name,
            engines=self._names("grader-engine"),
            namespace=namespace(config),
            parity_tolerance=config.sync.parity_tolerance,
        )

        def spawn() -> Any:
            options = self._options(name, self._engine_environment(config.evaluation.engine))
            return EvaluatorActor.options(**options).remote(  # type: ignore[attr-defined]
                name, self.models.policy, config.cluster.device, config.evaluation, config.grading, judge,
                self._evaluations,
            )  # fmt: skip

        return RemoteEvaluator(name, spawn, config.evaluation, self.turn)

    def _engine_environment(self, engine: EngineConfig) -> dict[str, str]:
        return engine_environment(engine, self._config.cluster.device)

    def _turns(self, generator: Generator, party: str) -> Generator:
        return TurnTaking(generator, self.turn, party) if self._shares else generator

    def _switches(self, verb: str) -> dict[str, Switch]:
        return {party: partial(self._switch, party, verb) for party in ENGINES}

    async def _switch(self, party: str, verb: str) -> None:
        """Wake or put to sleep the engines of a party; evaluation needs the judge too."""
        members: list[RemoteEngine | RemoteEvaluator] = []
        if party == "rollout":
            members += self.rollout.engines.values()
        if party in ("grader", "evaluation"):
            members += self.graders.engines.values()
        if party == "evaluation":
            members += self._evaluators
        await asyncio.gather(*(getattr(member, verb)() for member in members))
