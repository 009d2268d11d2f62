"""A run's model is published whole, with a card for strangers; and why it is not is said in one sentence."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from sentence_transformers import SentenceTransformer

from embexp import publish
from embexp.config.publish_options import publication
from embexp.config.schema import register
from embexp.errors import ConfigError
from embexp.models.folder import SHARED_PASSAGES
from embexp.models.shared_passages import share_passages
from embexp.package import conf_dir
from embexp.publishing import Publication
from embexp.publishing.shared_config import shared_config
from embexp.reporting.outcome import Outcome
from tests.conftest import Command
from tests.postgres_server import free_port
from tests.publishing.hub_server import TOKEN, USER, Hub, started

ROOT = Path(__file__).resolve().parents[2]
OPTIONS = [
    "dataset=folder",
    "dataset.path=/home/ada/secret-project/handbook",
    "llm=openai_compatible",
    "llm.model=qwen",
    "llm.base_url=http://llm.intern.example/v1",
    "paths.root=/home/ada",
    "paths.cache=/home/ada/cache",
]

Publish = Callable[..., None]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The stand-in, which huggingface_hub takes for the Hub, and a token that it knows."""
    from huggingface_hub import constants

    with started() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", "/nonexistent/token")
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield hub


@pytest.fixture
def finished(saved: Path, outcome: Outcome, tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes the folder of a finished run."""

    def write(outcome: Outcome = outcome, *options: str) -> Path:
        folder = tmp_path / "run"
        shutil.copytree(saved, folder / "model")
        outcome.write(folder / "outcome.json")
        register()
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            config = compose("config", [*OPTIONS, *options])
        (folder / ".hydra").mkdir()
        OmegaConf.save(config, folder / ".hydra" / "config.yaml")
        return folder

    return write


def card_of(content: bytes) -> tuple[dict[str, object], str]:
    """Return the metadata and the text of a model card."""
    _, metadata, text = content.decode("utf-8").split("---\n", 2)
    return yaml.safe_load(metadata), text


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return the message with which the command ends."""
    with pytest.raises(SystemExit) as end:
        publish.main(arguments)
    assert end.value.code == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert TOKEN not in captured.err + captured.out
    return captured.err


def test_the_hub_gets_model_card_and_outcome(
    hub: Hub, finished: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = finished()
    publish.main(["--run", str(run), "repo=docs-search", f"publish.folder={tmp_path / 'shared'}"])
    repo = f"{USER}/docs-search"
    assert hub.repos == {repo: True}
    assert len(hub.commits[repo]) == 1
    assert hub.commits[repo][0].startswith("WIN: retrieval improved")
    folder = hub.write(repo, tmp_path / "downloaded")
    wanted = SentenceTransformer(str(run / "model"), device="cpu").encode(["a kettle"])
    assert (SentenceTransformer(str(folder), device="cpu").encode(["a kettle"]) == wanted).all()
    assert Outcome.read(folder / "outcome.json").model_dir == "."
    local = {
        str(file.relative_to(tmp_path / "shared"))
        for file in (tmp_path / "shared").rglob("*")
        if file.is_file()
    }
    assert local == set(hub.files[repo])
    assert all((tmp_path / "shared" / name).read_bytes() == hub.files[repo][name] for name in local)
    printed = capsys.readouterr().out
    assert f"Published at {hub.url}/{repo} (private)" in printed
    assert "publish.data_license=NAME names it" in printed


def test_nothing_published_holds_the_token_a_path_or_an_address(
    hub: Hub, finished: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    run = finished()
    share_passages(run / "model", "the untuned model")  # which only this machine's cache knows
    publish.main(["--run", str(run), "repo=docs-search"])
    captured = capsys.readouterr()
    assert SHARED_PASSAGES not in hub.files[f"{USER}/docs-search"]
    texts = [content.decode("utf-8", "ignore") for content in hub.files[f"{USER}/docs-search"].values()]
    for text in (*texts, captured.out, captured.err):
        assert not re.search(rf"{TOKEN}|/home/ada|secret-project|intern\.example|/runs/1", text)
    assert any("path: handbook" in text for text in texts)


def test_the_card_tells_strangers_what_they_need(hub: Hub, finished: Callable[..., Path]) -> None:
    publish.main(["--run", str(finished()), "repo=analysts/docs-search", "publish.data_license=cc-by-4.0"])
    metadata, text = card_of(hub.files["analysts/docs-search"]["README.md"])
    assert metadata["base_model"] == "sentence-transformers/all-MiniLM-L6-v2"
    assert metadata["license"] == "apache-2.0"
    assert "WIN: retrieval improved, ndcg@10 0.500 → 0.750" in text
    assert "95% interval +0.050 … +0.450" in text
    assert "## Intended use" in text
    assert "1,500 pairs for training" in text
    assert "The training pairs are questions and passages cut out of the documents" in text
    assert "| base model, sentence-transformers/all-MiniLM-L6-v2 | apache-2.0 |" in text
    assert "| training data, kb | cc-by-4.0 |" in text


@pytest.mark.parametrize(
    ("options", "settings", "metadata", "rows"),
    [
        (
            ["model=tiny"],
            [],
            {"license": None, "base_model": None},
            ["| base model, minilm | not stated |", "| this model | not stated |"],
        ),
        (
            ["model=hub", "model.id=nobody/unknown"],
            ["publish.base_license=mit", "publish.license=cc-by-nc-4.0"],
            {"license": "cc-by-nc-4.0", "base_model": "nobody/unknown"},
            ["| base model, nobody/unknown | mit |", "| this model | cc-by-nc-4.0 |"],
        ),
        (
            ["model=tiny"],
            ["publish.base_model=us/base", "publish.base_license=mit"],
            {"license": "mit", "base_model": "us/base"},
            ["| base model, us/base | mit |", "| this model | mit |"],
        ),
    ],
)
def test_licences_that_are_not_known_are_said_not_guessed(
    finished: Callable[..., Path],
    outcome: Outcome,
    tmp_path: Path,
    options: list[str],
    settings: list[str],
    metadata: dict[str, str | None],
    rows: list[str],
) -> None:
    run = finished(outcome, *options)
    publish.main(["--run", str(run), f"publish.folder={tmp_path / 'shared'}", *settings])
    found, text = card_of((tmp_path / "shared" / "README.md").read_bytes())
    assert {key: found.get(key) for key in metadata} == metadata
    assert all(row in text for row in rows)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["synthesis=none"], "the labelled pairs of the data set"),
        (["synthesis=rag"], "written by the language model qwen"),
        (["synthesis=extractive_and_rag"], "questions about them by the language model qwen"),
        (["synthesis=entries"], "made-up entries with questions, written by the language model qwen"),
    ],
)
def test_the_card_says_what_kind_the_pairs_are(
    finished: Callable[..., Path], outcome: Outcome, tmp_path: Path, options: list[str], words: str
) -> None:
    publish.main(["--run", str(finished(outcome, *options)), f"publish.folder={tmp_path / 'shared'}"])
    assert words in (tmp_path / "shared" / "README.md").read_text(encoding="utf-8")


def test_a_regression_is_published_only_if_told(
    finished: Callable[..., Path],
    verdict: Callable[..., Outcome],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run, target = finished(verdict("REGRESSION", (-0.2, -0.1))), tmp_path / "shared"
    message = refused(capsys, "--run", str(run), f"publish.folder={target}")
    assert re.match(r"error: Nothing is published\. REGRESSION: .*publish\.force=true", message)
    assert not target.exists()
    publish.main(["--run", str(run), f"publish.folder={target}", "publish.force=true"])
    card = (target / "README.md").read_text(encoding="utf-8")
    assert "On the test questions it is worse than that model" in card


def test_a_model_that_was_not_compared_says_so(
    finished: Callable[..., Path], outcome: Outcome, tmp_path: Path
) -> None:
    run = finished(outcome.model_copy(update={"comparison": None, "scores": {}}))
    publish.main(["--run", str(run), f"publish.folder={tmp_path / 'shared'}"])
    assert "It was not compared with that model" in (tmp_path / "shared" / "README.md").read_text("utf-8")


def test_a_second_commit_replaces_what_changed(hub: Hub, finished: Callable[..., Path]) -> None:
    run = finished()
    publish.main(["--run", str(run), "repo=docs-search"])
    publish.main(["--run", str(run), "repo=docs-search", "publish.data_license=mit"])
    repo = f"{USER}/docs-search"
    assert len(hub.commits[repo]) == 2
    assert "| training data, kb | mit |" in card_of(hub.files[repo]["README.md"])[1]


@pytest.mark.parametrize(
    ("refuse", "repo", "message"),
    [
        (
            {},
            "bob/theirs",
            rf"repo is bob/theirs, which is not yours: the token belongs to {USER}, and may write in",
        ),
        ({"whoami": 401}, "mine", "refuses the token .*wrong, expired or revoked"),
        ({"repos/create": 403}, "mine", f"does not let this token write to {USER}/mine .*no repos/create"),
        ({"/commit/": 403}, "mine", f"does not let this token write to {USER}/mine"),
        ({"whoami": 503}, "mine", "answers HTTP 503 .*later"),
        ({"validate-yaml": 400}, "mine", "does not take .*mine"),
    ],
)
def test_a_refusal_of_the_hub_is_explained(
    hub: Hub,
    finished: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
    refuse: dict[str, int],
    repo: str,
    message: str,
) -> None:
    hub.refuse = refuse
    assert re.search(message, refused(capsys, "--run", str(finished()), f"repo={repo}"))
    assert hub.commits == {}


@pytest.mark.parametrize("private", [True, False])
def test_a_repository_that_others_see_is_not_pushed_to_by_accident(
    hub: Hub, finished: Callable[..., Path], capsys: pytest.CaptureFixture[str], private: bool
) -> None:
    hub.repos[f"{USER}/old"] = not private
    run, wanted = str(finished()), str(private).lower()
    message = refused(capsys, "--run", run, "repo=old", f"publish.private={wanted}")
    assert f"{USER}/old exists and is {'public' if private else 'private'}" in message
    assert hub.commits == {}
    publish.main(["--run", run, "repo=old", f"publish.private={str(not private).lower()}"])
    assert len(hub.commits[f"{USER}/old"]) == 1


@pytest.mark.parametrize(
    ("token", "message"), [("", "There is no token"), ("hf_ä", "holds a character that no")]
)
def test_a_token_that_cannot_be_used_is_named(
    hub: Hub,
    finished: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    token: str,
    message: str,
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    assert message in refused(capsys, "--run", str(finished()), "repo=mine")
    assert hub.paths == []


def test_a_hub_that_is_down_or_switched_off_is_told(
    hub: Hub,
    finished: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from huggingface_hub import constants

    run = str(finished())
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{free_port()}")
    assert re.search(r"at http://127\.\S+ cannot be reached", refused(capsys, "--run", run, "repo=mine"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE is set" in refused(capsys, "--run", run, "repo=mine")


def test_a_folder_that_is_no_published_model_is_kept(
    finished: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = finished()
    message = refused(capsys, "--run", str(run), f"publish.folder={run}")
    assert "exists and is no published model" in message
    assert (run / ".hydra").is_dir()
    for _ in range(2):
        publish.main(["--run", str(run), f"publish.folder={tmp_path / 'shared'}"])
    assert (tmp_path / "shared" / "outcome.json").is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["publish.privat=true"], "publish.privat is not an option of publish: did you mean 'private'"),
        (["publish.force=often"], "publish.force is 'often'"),
        (["loss=mnrl"], "'loss=mnrl' is not a setting of embexp.publish"),
    ],
)
def test_a_wrong_setting_is_named(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        publication(words)


def test_settings_say_where_to_publish() -> None:
    assert publication(["repo=a/b", "publish.private=false"]) == Publication(repo="a/b", private=False)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "nowhere to publish: give repo=NAME"),
        ({"folder": ""}, "nowhere to publish"),
        ({"repo": "a/b/c"}, "repo is 'a/b/c': give OWNER/NAME"),
        ({"repo": "ä ö"}, "repo is 'ä ö': give OWNER/NAME"),
        ({"repo": "", "folder": "x"}, "repo is '': give OWNER/NAME"),
    ],
)
def test_a_place_that_cannot_be_is_named(outcome: Outcome, settings: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Publication(**settings).check(outcome)  # type: ignore[arg-type]


def test_the_command_works_as_a_process(hub: Hub, finished: Callable[..., Path], command: Command) -> None:
    done = command(
        *("publish", "--run", str(finished()), "repo=docs-search"),
        **{"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1", "HF_TOKEN": TOKEN},
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "model.safetensors" in hub.files[f"{USER}/docs-search"]


def test_paths_and_addresses_are_not_shared() -> None:
    config = {
        "dataset": {"path": "/home/ada/kb", "files": ["~/a.jsonl", "b/c.jsonl", r"C:\docs\kb"]},
        "llm": {"base_url": "http://host/v1", "seed": 3},
        "paths": {"root": "/home/ada"},
        "tuned": None,
    }
    assert yaml.safe_load(shared_config(config)) == {
        "dataset": {"path": "kb", "files": ["a.jsonl", "b/c.jsonl", "kb"]},
        "llm": {"base_url": "…", "seed": 3},
    }


def test_the_commands_of_the_page_are_understood() -> None:
    page = (ROOT / "docs" / "production.md").read_text(encoding="utf-8")
    commands = re.findall(r"^python -m embexp\.publish (.*?)(?: +#.*)?$", page, re.MULTILINE)
    assert len(commands) >= 3
    for each in commands:
        options = publish.parser().parse_args(each.split())
        publication(options.settings)
