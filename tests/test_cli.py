"""The command ``embexp``: help, versions, mistyped commands, and what a shell completes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from embexp import cli
from embexp.package import __version__


def answer(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Run the command in this process and return its exit code."""
    monkeypatch.setattr(sys, "argv", ["embexp", *arguments])
    monkeypatch.setattr(sys, "path", sys.path[:])
    try:
        cli.main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@pytest.mark.parametrize("arguments", [[], ["help"], ["--help"], ["-h"]])
def test_help_names_every_command(arguments: list[str], monkeypatch, capsys) -> None:
    assert answer(monkeypatch, *arguments) == 0
    out = capsys.readouterr().out
    assert all(f"\n  {name} " in out for name in cli.COMMANDS)


def test_the_version_is_embexp_s(monkeypatch, capsys) -> None:
    assert answer(monkeypatch, "--version") == 0
    assert capsys.readouterr().out == f"embexp {__version__}\n"


@pytest.mark.parametrize("name", ["run", "search"])
def test_each_command_gives_the_version_of_embexp_or_none(name: str, monkeypatch, capsys) -> None:
    if name == "run":
        assert answer(monkeypatch, name, "--version") == 0
        assert capsys.readouterr().out == f"embexp {__version__}\n"
    else:
        assert answer(monkeypatch, name, "--version") == 2


@pytest.mark.parametrize(
    ("word", "remedy"),
    [
        ("serch", "did you mean embexp search?"),
        ("syntesize", "embexp synthesize?"),
        ("xyz", "choose one of run,"),
    ],
)
def test_a_mistyped_command_names_the_nearest(word: str, remedy: str, monkeypatch, capsys) -> None:
    assert answer(monkeypatch, word, "loss=mnrl") == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {word!r} is not a command: ")
    assert remedy in error


@pytest.mark.parametrize("arguments", [["help", "compare"], ["compare", "--help"]])
def test_help_explains_one_command(arguments: list[str], monkeypatch, capsys) -> None:
    assert answer(monkeypatch, *arguments) == 0
    assert "python -m embexp.compare" in capsys.readouterr().out


def test_every_command_has_a_module_with_a_main() -> None:
    for name in cli.COMMANDS:
        assert (Path(cli.__file__).parent / f"{name}.py").is_file(), name


def test_the_package_runs_as_a_module(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "embexp", "--version"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == f"embexp {__version__}\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_code_for_a_shell_calls_embexp(shell: str, monkeypatch, capsys) -> None:
    assert answer(monkeypatch, "completion", shell) == 0
    out = capsys.readouterr().out
    assert "_ARGCOMPLETE" in out
    assert "embexp" in out


def completed(line: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Return what a shell is offered for a line that ends where the cursor is."""
    file = folder / "candidates"
    monkeypatch.chdir(folder)
    # It opens descriptor 9, which is pytest's here.
    monkeypatch.setattr("argcomplete.finders.CompletionFinder._init_debug_stream", lambda _: None)
    # argcomplete keeps the stream that it found when it was imported, which may be one of an earlier test.
    monkeypatch.setattr("argcomplete.io.debug_stream", sys.stderr)
    for name, value in {
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_IFS": "\n",
        "_ARGCOMPLETE_SHELL": "zsh",  # which takes whole words; bash takes what follows = and :
        "_ARGCOMPLETE_STDOUT_FILENAME": str(file),
        "_ARGCOMPLETE_SUPPRESS_SPACE": "1",
        "COMP_LINE": line,
        "COMP_POINT": str(len(line.encode())),
    }.items():
        monkeypatch.setenv(name, value)
    assert answer(monkeypatch) == 0
    return {text.partition(":")[0].strip() for text in file.read_text().split("\n")}


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("embexp ", {*cli.COMMANDS, "help"}),
        ("embexp sy", {"synthesize"}),
        ("embexp run los", {"loss=", "loss."}),
        ("embexp run loss=cose", {"loss=cosent"}),
        ("embexp run experiment=tiny model=min", {"model=minilm", "model=minilm_l12"}),
        ("embexp finetune loss=gist loss.gu", {"loss.guide="}),
        ("embexp run -m loss=mnrl,gis", {"loss=mnrl,gist"}),
        ("embexp run --cf", {"--cfg"}),
        ("embexp search --tr", {"--trust"}),
        ("embexp cache ver", {"verify"}),
        ("embexp cache prune --older", {"--older-than"}),
        ("embexp runs rem", {"remove"}),
        ("embexp run dataset.path=kb/de", {"dataset.path=kb/deep.md"}),
        ("embexp run dataset.path=", {"dataset.path=kb/", "dataset.path=candidates"}),
        ("embexp run hydra.run.dir=k", {"hydra.run.dir=kb/"}),
        ("embexp run loss=nonsense trainer.ep", {""}),
    ],
)
def test_a_shell_is_offered_what_fits(line: str, offered: set[str], tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "kb").mkdir()
    (tmp_path / "kb" / "deep.md").touch()
    found = completed(line, tmp_path, monkeypatch)
    assert {text.split("=")[0] + "=" if text.startswith("loss.guide") else text for text in found} == offered


def test_options_of_one_s_own_are_offered(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "conf" / "loss").mkdir(parents=True)
    (tmp_path / "conf" / "loss" / "mine.yaml").write_text("defaults: [mnrl]\n")
    found = completed("embexp run --config-dir conf loss=mi", tmp_path, monkeypatch)
    assert found == {"loss=mine"}
