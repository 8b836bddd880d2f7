"""The command line: `beneficial-rl`, or `python -m actors.main`.

Everything heavy is imported inside the command that needs it, so that --help and mistakes answer at once.
"""

import argparse
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from actors.config import Config
from actors.folder import FolderError
from actors.load import ConfigError, load_config

DESCRIPTION = """\
Trains open-weight models towards broadly beneficial behaviour, arm by arm, evaluates every
checkpoint as it arrives, and reports whether the behaviour generalized."""

EXAMPLES = """\
examples:
  beneficial-rl doctor                                    is this machine ready?
  beneficial-rl experiment configs/demo.toml --dry-run    what would it do? (starts nothing)
  beneficial-rl experiment configs/demo.toml              all arms in the miniature world, on a CPU
  beneficial-rl train configs/demo.toml --set arm=baseline --set steps=20
  beneficial-rl experiment configs/demo.toml --resume     go on where it stopped
  beneficial-rl report runs/demo                          write runs/demo/report/index.html

Exit codes: 0 all well; 1 the run failed or the doctor found something that blocks; 2 a mistake in
the command, the configuration or the data, explained in one message; 130 interrupted."""

FAILURE = 1
USAGE_ERROR = 2
INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code. Expected errors print one message, with --debug a traceback."""
    arguments = build_parser().parse_args(argv)
    try:
        code: int = arguments.run(arguments)
        return code
    except KeyboardInterrupt:
        print("interrupted; what was finished is kept, and --resume goes on from there", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        return _report_error(error, arguments.debug)


def _report_error(error: Exception, debug: bool) -> int:
    """One message on stderr, and the exit code: 2 for what the user can put right, 1 for failures."""
    if debug:
        traceback.print_exception(error)
    mistake = isinstance(error, (ValueError, FileNotFoundError))
    name = "" if mistake else f"{type(error).__name__}: "
    print(f"beneficial-rl: {name}{error}", file=sys.stderr)
    if not debug and not isinstance(error, (ConfigError, FolderError)):
        print("(--debug shows the traceback)", file=sys.stderr)
    return USAGE_ERROR if mistake else FAILURE


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="beneficial-rl",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, max_help_position=18),
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_runs(commands)
    _add_tools(commands)
    return parser


def _add_runs(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """The commands that take a configuration."""
    train = _command(commands, "train", "train one arm with one seed", _train)
    experiment = _command(commands, "experiment", "train and evaluate every arm and seed, then report", _experiment)
    for command in (train, experiment):
        _add_config(command)
        command.add_argument("--dry-run", action="store_true", help="print the resolved plan and start nothing")
        command.add_argument("--resume", action="store_true", help="go on where the run in this folder stopped")
    evaluate = _command(commands, "evaluate", "evaluate one checkpoint folder", _evaluate)
    _add_config(evaluate)
    evaluate.add_argument("checkpoint", help="a Hugging Face model folder, e.g. a run's checkpoints/step-00080")


def _add_tools(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """The commands that take none."""
    bootstrap = _command(commands, "bootstrap", "train the miniature world's policy and judge (cached)", _bootstrap)
    bootstrap.add_argument("world", help="the world's TOML file, e.g. configs/worlds/coupled.toml")
    bootstrap.add_argument("--cache-dir", default=Config(name="defaults").cache_dir, help="default: %(default)s")
    report = _command(commands, "report", "write the report of an experiment's folder", _report)
    report.add_argument("folder", help="the experiment's folder, e.g. runs/demo")
    _command(commands, "doctor", "check this machine and its environment", _doctor)


def _command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, words: str, run: object
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=words, description=words[:1].upper() + words[1:] + ".")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser.set_defaults(run=run)
    return parser


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", help="a TOML file, e.g. configs/demo.toml")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override a key, e.g. --set learner.learning_rate=1e-4 (may be repeated)",
    )


def _train(arguments: argparse.Namespace) -> int:
    config = load_config(arguments.config, arguments.set, experiment=False)
    if arguments.dry_run:
        return _dry_run(config, experiment=False)
    from actors.experiment import train

    print(train(config, resume=arguments.resume))
    return 0


def _experiment(arguments: argparse.Namespace) -> int:
    config = load_config(arguments.config, arguments.set)
    if arguments.dry_run:
        return _dry_run(config, experiment=True)
    from actors.experiment import run_experiment

    print(run_experiment(config, resume=arguments.resume))
    return 0


def _dry_run(config: Config, *, experiment: bool) -> int:
    from rich.console import Console

    from actors.plan import make_plan, print_plan

    # Tables in a file or a pipe get a width of their own, not the 80 columns of an unknown terminal.
    console = Console() if sys.stdout.isatty() else Console(width=120)
    print_plan(make_plan(config, experiment=experiment), console)
    return 0


def _evaluate(arguments: argparse.Namespace) -> int:
    config = load_config(arguments.config, arguments.set, experiment=False)
    from actors.evaluate import evaluate_checkpoint

    print(evaluate_checkpoint(config, Path(arguments.checkpoint)))
    return 0


def _bootstrap(arguments: argparse.Namespace) -> int:
    from actors.stages import Stages
    from scenarios.miniature.bootstrap import bootstrap

    with Stages("the miniature's models") as stages:
        result = bootstrap(arguments.world, arguments.cache_dir, stages.report)
    print(f"policy: {result.policy_path}\njudge: {result.judge_path} (agreement {result.judge_agreement:.3f})")
    return 0


def _report(arguments: argparse.Namespace) -> int:
    folder = Path(arguments.folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}; give an experiment's folder, e.g. runs/demo")
    from evaluation.report import summary_table, write_report

    page = write_report(folder)
    print(summary_table(folder))
    print(page)
    return 0


def _doctor(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from actors.doctor import blocks, diagnose, print_findings

    findings = diagnose()
    print_findings(findings, Console())
    return 1 if blocks(findings) else 0


if __name__ == "__main__":
    sys.exit(main())
