import sys
import types

import pytest

from actors.main import main


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    code = main(arguments)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def fake_experiment(monkeypatch, **functions):
    module = types.ModuleType("actors.experiment")
    for name, function in functions.items():
        setattr(module, name, function)
    monkeypatch.setitem(sys.modules, "actors.experiment", module)


CONFIG = "configs/qwen3_24gb.toml"


def test_help_teaches_with_examples(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    for words in ("experiment configs/demo.toml --dry-run", "doctor", "--resume", "--set arm=baseline", "Exit codes"):
        assert words in text


def test_a_configuration_error_is_one_message_and_exit_code_2(capsys):
    code, out, err = run(capsys, "train", CONFIG, "--set", "learner.lerning_rate=1")
    assert (code, out) == (2, "")
    assert "did you mean learner.learning_rate?" in err
    assert "Traceback" not in err


def test_debug_shows_the_traceback(capsys):
    code, _, err = run(capsys, "train", CONFIG, "--set", "steps=0", "--debug")
    assert code == 2
    assert "Traceback" in err


def test_dry_run_starts_nothing(capsys, monkeypatch):
    fake_experiment(monkeypatch)
    code, out, _ = run(capsys, "train", CONFIG, "--set", "steps=2", "--dry-run")
    assert code == 0
    assert "Runs: multi_domain, seed 0\n" in out


def test_train_and_experiment_pass_their_options_on(capsys, monkeypatch):
    calls = []

    def record(config, resume):
        calls.append((config.arm, config.steps, resume))
        return "runs/x"

    fake_experiment(monkeypatch, train=record, run_experiment=record)
    assert run(capsys, "train", CONFIG, "--set", "arm=baseline", "--resume")[:2] == (0, "runs/x\n")
    assert run(capsys, "experiment", CONFIG, "--set", "steps=9")[0] == 0
    assert calls == [("baseline", 200, True), ("multi_domain", 9, False)]


def test_a_failure_of_a_run_is_named_and_exit_code_1(capsys, monkeypatch):
    def fail(config, resume):
        raise RuntimeError("engine rollout-0 died")

    fake_experiment(monkeypatch, train=fail)
    code, _, err = run(capsys, "train", CONFIG)
    assert code == 1
    assert "RuntimeError: engine rollout-0 died" in err
    assert "--debug shows the traceback" in err


def test_an_interrupt_says_how_to_go_on(capsys, monkeypatch):
    def interrupt(config, resume):
        raise KeyboardInterrupt

    fake_experiment(monkeypatch, train=interrupt)
    code, _, err = run(capsys, "train", CONFIG)
    assert code == 130
    assert "--resume" in err


def test_a_missing_report_folder_is_explained(capsys):
    code, _, err = run(capsys, "report", "runs/nowhere")
    assert code == 2
    assert "there is no folder runs/nowhere" in err


def test_no_command_is_a_usage_error(capsys):
    with pytest.raises(SystemExit) as caught:
        main([])
    assert caught.value.code == 2
