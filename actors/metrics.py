"""Every figure of a run as a Ray metric, so that Prometheus and Grafana see what the terminal shows.

The controller keeps its figures in one flat dictionary: `"policy_lag"`, or with a label after a slash,
`"reward/standard"`. `METRICS` says which Ray metric each figure becomes and which tag its label is.
Figures that it does not list are kept in metrics.jsonl only. docs/metrics.md is this table for readers.
"""

from collections.abc import Mapping
from typing import Literal

import msgspec

from evaluation.types import EvaluationResult

PREFIX = "beneficial_rl_"
"""Of every name; Ray puts its own `ray_` before it on the metrics port."""

BUCKETS_S = [0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3000]
"""Upper bounds of the histogram's buckets, seconds."""


class Metric(msgspec.Struct, frozen=True, kw_only=True):
    """One figure and the Ray metric that it becomes."""

    key: str
    """The figure's key in the flat dictionary, without its label."""
    label: Literal["", "source", "engine", "phase", "evaluation"] = ""
    """What stands after the key's slash, and the name of its tag; "" for figures without a label."""
    kind: Literal["gauge", "histogram"] = "gauge"
    unit: str = ""
    description: str

    @property
    def name(self) -> str:
        """The metric's name in Ray."""
        return PREFIX + self.key.replace("/", "_")

    @property
    def tags(self) -> tuple[str, ...]:
        """Names of its tags."""
        return ("arm", "seed", self.label) if self.label else ("arm", "seed")


METRICS: tuple[Metric, ...] = (
    Metric(key="step", unit="steps", description="Optimizer steps done."),
    Metric(key="reward", label="source", unit="points", description="Mean reward of the step's graded completions."),
    Metric(key="reward_spread", label="source", unit="points", description="Mean deviation of rewards in a group."),
    Metric(key="zero_variance", label="source", unit="share", description="Recent groups with all rewards equal."),
    Metric(key="truncated", label="source", unit="share", description="Recent completions that hit the token limit."),
    Metric(key="ungraded", label="source", unit="share", description="Recent completions without a verdict."),
    Metric(key="mix", label="source", unit="share", description="Share of all that was trained so far."),
    Metric(key="mix_deviation", unit="groups", description="Largest distance of a source from its share, now."),
    Metric(key="trained_groups", label="source", unit="groups", description="Groups trained so far."),
    Metric(key="filtered", label="source", unit="groups", description="Groups passed over for want of variance."),
    Metric(key="failed", label="source", unit="groups", description="Attempts that failed."),
    Metric(key="distinct_prompts", label="source", unit="prompts", description="Different prompts trained so far."),
    Metric(key="gradient_share", label="source", unit="share", description="Share of the sum of |advantage|."),
    Metric(key="policy_lag", unit="versions", description="Age of the step's oldest trained token."),
    Metric(key="loss", description="Policy loss of the step."),
    Metric(key="grad_norm", description="L2 norm of the gradient before clipping."),
    Metric(key="learning_rate", description="Learning rate of the step."),
    Metric(key="clip_share", unit="share", description="Tokens whose ratio was clipped."),
    Metric(key="entropy", unit="nats", description="Mean entropy of the policy at completion tokens."),
    Metric(key="mismatch_kl", unit="nats", description="KL of the rollout policy from the learner's, same tokens."),
    Metric(key="mismatch_max", unit="nats", description="Largest trainer/rollout log-probability difference."),
    Metric(key="reference_kl", unit="nats", description="KL to the reference policy."),
    Metric(key="num_tokens", unit="tokens", description="Tokens through the learner in the step."),
    Metric(key="tokens_per_s", unit="tokens/s", description="Tokens generated, per second of the step."),
    Metric(key="seconds", label="phase", kind="histogram", unit="s", description="Time of a step's phase."),
    Metric(key="verdicts", unit="verdicts", description="Verdicts so far."),
    Metric(key="judge_tokens", unit="tokens", description="Tokens that the judge has read and written so far."),
    Metric(key="ungraded_share", unit="share", description="Verdicts that stayed ungraded, of all so far."),
    Metric(key="cache_hit_share", unit="share", description="Verdicts that came from the cache, of all so far."),
    Metric(key="breaker_open", unit="0 or 1", description="1 while the judge is given a rest after failures."),
    Metric(key="fleet/serving", unit="engines", description="Rollout engines that serve."),
    Metric(key="fleet/quarantined", unit="engines", description="Rollout engines out of the fleet after a check."),
    Metric(key="fleet/deaths", unit="engines", description="Rollout engines that died so far."),
    Metric(key="fleet/retries", unit="requests", description="Requests sent again to another engine so far."),
    Metric(key="fleet/waiting", unit="requests", description="Requests that wait for a free engine."),
    Metric(key="fleet/in_flight", label="engine", unit="requests", description="Requests that an engine answers now."),
    Metric(key="fleet/version", label="engine", unit="versions", description="Policy version that an engine serves."),
    Metric(key="sync_seconds", kind="histogram", unit="s", description="Time of one weight sync, checks included."),
    Metric(key="parity", unit="nats", description="Largest engine/learner difference on the probe after a sync."),
    Metric(key="evaluation_lag", unit="steps", description="Steps since the newest fully evaluated checkpoint."),
    Metric(key="evaluation_score", label="evaluation", unit="share", description="Newest score; higher is better."),
)
"""All metrics, in the order of docs/metrics.md."""

BY_KEY = {(metric.key, bool(metric.label)): metric for metric in METRICS}


def metric_of(figure: str) -> tuple[Metric, str] | None:
    """The metric and the label of a figure's key, or None where the table does not list it.

    >>> metric, label = metric_of("fleet/version/rollout-0")
    >>> metric.name, label
    ('beneficial_rl_fleet_version', 'rollout-0')
    """
    key, _, label = figure.rpartition("/")
    if (key, True) in BY_KEY and label:
        return BY_KEY[key, True], label
    # Names of evaluations may hold slashes of their own.
    key, _, label = figure.partition("/")
    if (key, True) in BY_KEY and label:
        return BY_KEY[key, True], label
    return (BY_KEY[figure, False], "") if (figure, False) in BY_KEY else None


class MetricsRecorder:
    """Sends a run's figures to Ray. Ray must be connected."""

    def __init__(self, arm: str, seed: int) -> None:
        from ray.util.metrics import Gauge, Histogram

        self._tags = {"arm": arm, "seed": str(seed)}
        self._gauges: dict[str, Gauge] = {}
        self._histograms: dict[str, Histogram] = {}
        for metric in METRICS:
            about = f"{metric.description} [{metric.unit}]" if metric.unit else metric.description
            if metric.kind == "gauge":
                self._gauges[metric.key] = Gauge(metric.name, description=about, tag_keys=metric.tags)
            else:
                self._histograms[metric.key] = Histogram(
                    metric.name, description=about, boundaries=BUCKETS_S, tag_keys=metric.tags
                )

    def record(self, figures: Mapping[str, float]) -> None:
        """Set every listed figure, e.g. {"policy_lag": 1, "reward/standard": 0.8}."""
        for figure, value in figures.items():
            found = metric_of(figure)
            if found is not None:
                self._send(*found, float(value))

    def record_evaluation(self, result: EvaluationResult) -> None:
        """Set an evaluation's score; an ungraded evaluation has none."""
        if result.score is not None:
            self.record({f"evaluation_score/{result.evaluation}": result.score})

    def _send(self, metric: Metric, label: str, value: float) -> None:
        tags = self._tags | ({metric.label: label} if metric.label else {})
        if metric.kind == "gauge":
            self._gauges[metric.key].set(value, tags=tags)
        else:
            self._histograms[metric.key].observe(value, tags=tags)


def table() -> str:
    """The table of docs/metrics.md."""
    rows = [
        f"| `{metric.name}` | {metric.kind} | {', '.join(metric.tags)} | {metric.unit or '-'} | {metric.description} |"
        for metric in METRICS
    ]
    return "\n".join(["| name | kind | tags | unit | meaning |", "|---|---|---|---|---|", *rows])
