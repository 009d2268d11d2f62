"""Random secrets in every place that takes one; then everything that is left is searched for them."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import logging
import string
import sys
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf, open_dict, read_write

from embexp import masking
from embexp.config.multirun import record_failure
from embexp.config.saved import SaveConfiguration, masked_display, write_configuration
from embexp.config.schema import register
from embexp.errors import ConfigError, DataError
from embexp.masking import masked_terminal, masked_traceback, remember_secrets
from embexp.package import conf_dir
from embexp.storage.manifest import write_manifest
from embexp.tracking.mlflow import MlflowTracker

MARKS = "/@?%:&=#+ '\"\\{}[](),;<>!$*^`|~-_."
LETTERS = string.ascii_letters + string.digits + "äßéЖ漢字"


ROOT = Path(__file__).resolve().parents[1]
SOURCES = "\n".join(
    file.read_text(encoding="utf-8")
    for folder, files in ((conf_dir(), "*.yaml"), (ROOT / "embexp", "*.py"), (ROOT / "tests", "*.py"))
    for file in sorted(folder.rglob(files))
)


def no_word(text: str) -> bool:
    """Whether a text stands in no configuration anyway: it holds a digit, and is in none of embexp's files.

    Hypothesis draws constants of the code that is tested, too, such as the name of a model's package.
    """
    return any(letter.isdigit() for letter in text) and text not in SOURCES


SECRETS = (
    st.text(MARKS + LETTERS, min_size=9, max_size=30)
    .map(str.strip)
    .filter(
        lambda text: len(set(text)) > 5 and sum(letter in LETTERS for letter in text) > 3 and no_word(text)
    )
)
BARE = st.text(string.ascii_letters + string.digits + "/@?%:=+-_.~", min_size=9, max_size=30).filter(
    lambda text: len(set(text)) > 5 and text[-1].isalnum() and text[0].isalnum() and no_word(text)
)
"""Secrets without spaces and quotes, which can be told from the words around them in any message."""
FORMS = [
    "Authorization: Basic {}",
    "Authorization: Bearer {}",
    '{{"authorization":"Token {}"}}',
    "x-api-key: {}",
    "GET /v1?token={} failed",
    "GET /v1?a=1&api_key={} failed",
    "password={}",
    "host=db user=me pwd={} dbname=x",
    "auth={}",
    "passphrase: '{}'",
    "Cookie: session={}",
    "Set-Cookie: id={}; Path=/",
    "connect to postgresql://me:{}@db:5432/x",
    "the proxy https://me:{}@proxy refuses",
]


def spellings(secret: str) -> set[str]:
    """How the secret may stand in a file, found out apart from the code that masks it."""
    return {
        secret,
        quote(secret, safe=""),
        quote(secret),
        quote_plus(secret),
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        repr(secret)[1:-1],
        escape(secret),
        secret.replace("'", "''"),
    }


def left(secret: str, folder: Path, *texts: str) -> list[str]:
    """Where a secret is left: the files below a folder, and texts."""
    found = []
    kept = [(str(path), path.read_bytes()) for path in folder.rglob("*") if path.is_file()]
    for name, content in [*kept, *((text[:60], text.encode()) for text in texts)]:
        found += [f"{name}: {each}" for each in spellings(secret) if each.encode() in content]
    return found


@pytest.fixture(autouse=True)
def own_memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Remember no secret beyond a test, and give logging its records back."""
    monkeypatch.setattr(masking, "_known", set())
    before = HydraConfig.instance().cfg
    yield
    HydraConfig.instance().cfg = before
    logging.setLogRecordFactory(logging.LogRecord)


@pytest.fixture(scope="module")
def composed() -> Any:
    register()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        overrides = ["dataset=folder", "dataset.path=docs", "llm=openai_compatible", "llm.model=m"]
        overrides += ["llm.base_url=http://localhost/v1", "paths.root=.", "paths.cache=c"]
        return compose("config", overrides, return_hydra_config=True)


@pytest.fixture(scope="module")
def tracker(tmp_path_factory: pytest.TempPathFactory) -> MlflowTracker:
    made = MlflowTracker(root=str(tmp_path_factory.mktemp("tracked")))
    made.prepare()
    return made


def in_hydras_quotes(text: str) -> str:
    return "'" + text.replace("\\'", "\\\\'").replace("'", "\\'") + "'"


def with_secret(composed: Any, secret: str, folder: Path) -> Any:
    """A configuration with the secret at every key that takes one, as a job has it."""
    config = copy.deepcopy(composed)
    with read_write(config), read_write(config.hydra), open_dict(config), open_dict(config.hydra):
        config.dataset.password = secret
        config.tracker.uri = f"postgresql://me:{secret}@db/x"
        config.llm.base_url = f"https://me:{quote(secret, safe='')}@host/v1"
        config.llm.extra_body = {"headers": {"Authorization": secret, "x-api-key": [secret]}, "token": secret}
        config.hydra.runtime.output_dir = str(folder)
        config.hydra.mode = RunMode.RUN
        config.hydra.job.num = 0
        config.hydra.overrides.task = [
            f"dataset.password={in_hydras_quotes(secret)}",
            f"++llm.extra_body.token={in_hydras_quotes(secret)}",
            f"tracker.uri={in_hydras_quotes(f'postgresql://me:{secret}@db/x')}",
        ]
        config.hydra.job.override_dirname = f"dataset.password={secret},seed=1"
    return config


@contextlib.contextmanager
def run_log(path: Path) -> Iterator[logging.Logger]:
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s: %(message)s"))
    log = logging.getLogger("tests.secrets")
    log.addHandler(handler)
    log.setLevel(logging.DEBUG)
    try:
        yield log
    finally:
        log.removeHandler(handler)
        handler.close()


SETTINGS = settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@SETTINGS
@given(secret=SECRETS)
@example(secret="p/w@x?password=b%20c:d")
@example(secret='it\'s "so" \\ long, [and] {odd}: = so')
@example(
    secret="a very long pass phrase of many words that YAML would fold over two lines of its text, or three"
)
def test_no_file_log_or_message_of_a_job_holds_a_secret_of_its_configuration(
    secret: str, composed: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    masking._known.clear()
    folder = tmp_path_factory.mktemp("job")
    config = with_secret(composed, secret, folder)
    HydraConfig.instance().set_config(config)
    SaveConfiguration().on_job_start(config)
    with run_log(folder / "run.log") as log:
        log.info("opening with %s and %r", secret, {"password": secret})
        try:
            raise OSError(f"cannot connect: {config.tracker.uri}, {secret!r}")
        except OSError as error:
            log.debug("traceback", exc_info=error)
            shown = masked_traceback(error)
            refusal = DataError(f"The file cannot be opened with {secret}: {error}")
    record_failure(ConfigError(f"dataset.password={secret}: wrong"))
    (folder / "pairs.jsonl").touch()
    dataset = OmegaConf.to_container(config.dataset)
    write_manifest(folder / "pairs.jsonl", records=0, settings={"dataset": dataset}, commit=None)
    write_configuration(folder / "multirun.yaml", OmegaConf.to_container(config, resolve=False))
    assert left(secret, folder, shown, str(refusal), repr(refusal)) == []
    assert len(list(folder.rglob("*"))) >= 7
    assert "docs" in (folder / ".hydra" / "config.yaml").read_text()


@SETTINGS
@given(secret=SECRETS)
@example(secret="p/w@x?password=b%20c:d")
def test_nothing_in_mlflow_is_a_secret(
    secret: str, composed: Any, tracker: MlflowTracker, tmp_path_factory: pytest.TempPathFactory
) -> None:
    masking._known.clear()
    folder = tmp_path_factory.mktemp("run")
    values = OmegaConf.to_container(with_secret(composed, secret, folder), resolve=False)
    assert isinstance(values, dict)
    del values["hydra"]
    remember_secrets(values)
    tags = {"note": f"with {secret}", "command": f"embexp dataset.password={secret}", "mine": secret}
    with (
        contextlib.suppress(ValueError),
        tracker.run(f"run {secret}", params=values, tags=tags) as run,
        run.child("part", params={"uri": values["tracker"]["uri"]}, tags=tags) as child,
    ):
        child.log_dataset(name="kb", source=values["tracker"]["uri"], digest="1")
        raise ValueError(f"cannot open with {secret}")
    assert left(secret, Path(tracker.root)) == []


@settings(SETTINGS, max_examples=200)
@given(secret=BARE, form=st.sampled_from(FORMS))
def test_a_secret_that_nobody_knows_is_told_by_what_stands_before_it(secret: str, form: str) -> None:
    shown = masking.masked_text(f"refused: {form.format(secret)}")
    assert not [each for each in spellings(secret) if each in shown]


@settings(SETTINGS, max_examples=200)
@given(
    secret=SECRETS,
    name=st.sampled_from(["GROQ_API_KEY", "PGPASSWORD", "MY_TOKEN", "HTTPS_PROXY", "MY_SIGNING_KEY"]),
)
def test_the_secret_of_a_variable_is_not_printed(secret: str, name: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(name, f"https://me:{secret}@proxy" if name == "HTTPS_PROXY" else secret)
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), masked_terminal():
            print(f"sent {secret} and", {"key": secret})
            print(f"refused: {secret}", file=sys.stderr)
        assert not [each for each in spellings(secret) if each in out.getvalue() + err.getvalue()]
        assert out.getvalue().startswith("sent ")


@SETTINGS
@given(secret=SECRETS)
def test_the_configuration_that_is_displayed_holds_no_secret(
    secret: str, composed: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    masking._known.clear()
    config = with_secret(composed, secret, tmp_path_factory.mktemp("shown"))
    out = io.StringIO()
    with contextlib.redirect_stdout(out), masked_display(["--cfg", "job"]):
        sys.stdout.write("# @package dataset\n" + OmegaConf.to_yaml(config))
    assert not [each for each in spellings(secret) if each in out.getvalue()]
    assert "path: docs" in out.getvalue()


def test_a_configuration_without_secrets_is_displayed_as_it_is(composed: Any) -> None:
    text = OmegaConf.to_yaml(composed.trainer)
    out = io.StringIO()
    with contextlib.redirect_stdout(out), masked_display(["--cfg=job", "-p", "trainer"]):
        sys.stdout.write(text)
    assert out.getvalue() == text


SECRET = "p/w x@y?password=b%20c"


@pytest.mark.parametrize("multirun", [False, True])
def test_a_command_that_fails_leaves_no_secret(command: Any, tmp_path: Path, multirun: bool) -> None:
    arguments = ["dataset=folder", "dataset.path=nowhere", f"dataset.password={SECRET}"]
    arguments += [f"tracker.uri=postgresql://me:{SECRET}@127.0.0.1:1/x" if not multirun else "tracker=none"]
    arguments += ["-m", "seed=1,2"] if multirun else []
    done = command("run", *arguments, SOME_API_KEY="rosebud-1941", HYDRA_FULL_ERROR="1")
    assert done.returncode == 2
    assert left(SECRET, tmp_path, done.stdout, done.stderr) == []
    assert left("rosebud-1941", tmp_path, done.stdout, done.stderr) == []
    assert list(tmp_path.rglob(".hydra/overrides.yaml"))
    assert list(tmp_path.rglob("multirun.yaml")) or not multirun
