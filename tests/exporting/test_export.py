"""An export gives the model's vectors, is checked on the run's questions, and appears only if it passes."""

from __future__ import annotations

import importlib.util
import json
import logging
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

import embexp
from embexp import export
from embexp.config.export_options import export_format
from embexp.errors import ConfigError, ModelError
from embexp.exporting import OnnxEmbedder, OnnxExport, OpenvinoEmbedder, OpenvinoExport, StaticExport
from embexp.exporting.static import write_static
from embexp.finetuning.loanwords import transliterate_queries
from embexp.finetuning.parameter_efficient import QueryAdapter, QueryEncoder
from tests.exporting.exported_run import finish_run

ROOT = Path(__file__).resolve().parents[2]
TEXTS = ["", "a kettle", "ä 漢字 box", "every bicycle needs oil " * 100]
"""Empty, short, other scripts, longer than the model reads."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run."""
    folder = tmp_path_factory.mktemp("export")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return finish_run(folder)


@pytest.fixture(scope="module")
def onnx(run: Path) -> Path:
    """The run's model, exported by the command."""
    export.main(["--run", str(run), "format=onnx"])
    return run / "export" / "onnx"


def report_of(folder: Path) -> dict[str, object]:
    return dict(json.loads((folder / "export.json").read_text(encoding="utf-8")))


def test_onnx_gives_the_vectors_of_the_model(run: Path, onnx: Path) -> None:
    model = SentenceTransformer(str(run / "model"), device="cpu")
    wanted = model.encode(TEXTS, normalize_embeddings=True)
    np.testing.assert_allclose(OnnxEmbedder(onnx).encode_passages(TEXTS), wanted, atol=1e-5)
    np.testing.assert_allclose(OnnxEmbedder(onnx).encode_queries(TEXTS[1:2]), wanted[1:2], atol=1e-5)
    assert OnnxEmbedder(onnx).encode_queries([]).shape == (0, 16)


def test_many_passages_are_counted(
    onnx: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("embexp.progress._SECONDS_BETWEEN_LINES", 0.0)
    with caplog.at_level(logging.INFO):
        OnnxEmbedder(onnx).encode_passages([f"kettle {number}" for number in range(300)])
    assert any(line.startswith("Encoding passages: 256 of 300") for line in caplog.messages)


def test_the_prompts_are_exported(saved: Path, tmp_path: Path) -> None:
    model = SentenceTransformer(str(saved), device="cpu", prompts={"query": "ask: ", "document": "text: "})
    OnnxExport().write(model, tmp_path)
    embedder = OnnxEmbedder(tmp_path)
    for role in ("query", "document"):
        wanted = model.encode(TEXTS, prompt_name=role, normalize_embeddings=True)
        encode = embedder.encode_queries if role == "query" else embedder.encode_passages
        np.testing.assert_allclose(encode(TEXTS), wanted, atol=1e-5)


def test_the_report_repeats_the_score_of_the_run(run: Path, onnx: Path) -> None:
    report = report_of(onnx)
    tuned = json.loads((run / "outcome.json").read_text(encoding="utf-8"))["scores"]["tuned"]
    assert report["original"]["score"] == pytest.approx(tuned["ndcg@10"])
    assert report["comparison"]["queries"] == len(embexp.load_run(run).task.queries)
    assert report["comparison"]["delta"] == pytest.approx(0, abs=1e-6)
    assert report["cosine_deviation"] < 1e-5
    assert report["passed"] is True
    for each in (report["original"], report["exported"]):
        assert min(each["bytes"], each["texts_per_second"], each["query_milliseconds"]) > 0


def test_int8_is_smaller_and_nearly_the_same(
    run: Path, onnx: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "small"
    export.main(["--run", str(run), "--to", str(target), "format=onnx_int8", "export.tolerance=1"])
    assert sorted(file.name for file in target.iterdir()) == [
        *("export.json", "model.onnx", "prompts.json", "tokenizer.json")
    ]
    report = report_of(target)
    assert (target / "model.onnx").stat().st_size < 0.5 * (onnx / "model.onnx").stat().st_size
    assert 0 < report["cosine_deviation"] < 0.01
    printed = capsys.readouterr().out
    assert re.search(r"^ *onnx_int8 +[01]\.\d{4} +\d+\.\d MB", printed, re.MULTILINE)
    assert f"{report['comparison']['queries']} test questions; tolerance 1." in printed


def test_openvino_gives_the_vectors_of_the_model(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino", reason="openvino is not installed")
    prompts = {"query": "ask: ", "document": "text: "}
    model = SentenceTransformer(str(saved), device="cpu", prompts=prompts)
    OpenvinoExport().write(model, tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        *("openvino_model.bin", "openvino_model.xml", "prompts.json", "tokenizer.json")
    ]
    embedder = OpenvinoEmbedder(tmp_path, threads=1)
    for encode, role in ((embedder.encode_queries, "query"), (embedder.encode_passages, "document")):
        wanted = model.encode(TEXTS, prompt_name=role, normalize_embeddings=True)
        assert (encode(TEXTS) * wanted).sum(axis=1).min() > 1 - 1e-3  # bfloat16, where the CPU has it
    assert embedder.encode_passages([]).shape == (0, 16)
    code = next(code for code in page_examples() if "import openvino" in code)
    monkeypatch.chdir(tmp_path)
    found: dict[str, np.ndarray] = {}
    exec(code.replace("outputs/DATE/TIME/export/openvino", "."), found)
    wanted = model.encode(found["texts"], normalize_embeddings=True)
    assert (found["vectors"] * wanted).sum(axis=1).min() > 1 - 1e-3


def page_examples() -> list[str]:
    page = (ROOT / "docs" / "production.md").read_text(encoding="utf-8")
    return re.findall(r"```py\n(.*?)```", page, re.DOTALL)


def test_static_vectors_load_with_sentence_transformers(run: Path, tmp_path: Path) -> None:
    target = tmp_path / "static"
    export.main(["--run", str(run), "--to", str(target), "format=static", "export.tolerance=1"])
    model = SentenceTransformer(str(target))
    assert model.encode(TEXTS).shape == (4, 16)
    report = report_of(target)
    assert (report["format"], report["cosine_deviation"]) == ("static", None)


def test_an_export_that_loses_too_much_is_not_published(
    run: Path, onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def negate(self: OnnxExport, folder: Path) -> OnnxEmbedder:
        class Negated(OnnxEmbedder):
            def encode_queries(self, texts: list[str]) -> np.ndarray:
                return -super().encode_queries(texts)

        return Negated(folder)

    monkeypatch.setattr(
        OnnxExport, "write", lambda *given: shutil.copytree(onnx, given[-1], dirs_exist_ok=True)
    )
    monkeypatch.setattr(OnnxExport, "load", negate)
    target = tmp_path / "out"
    with pytest.raises(SystemExit) as end:
        export.main(["--run", str(run), "--to", str(target), "format=onnx"])
    assert end.value.code == 2
    *log, error = capsys.readouterr().err.splitlines()
    assert log[0] == "Writing the model as onnx."
    assert re.match(
        r"error: The export loses 0\.\d+ ndcg@10, more than export\.tolerance=0\.01 allows", error
    )
    assert not target.exists()


def test_a_failed_export_leaves_the_published_one(
    run: Path, onnx: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (onnx / "export.json").read_bytes()

    def fail(self: OnnxExport, model: SentenceTransformer, folder: Path) -> None:
        (folder / "model.onnx").write_bytes(b"half")
        raise ModelError("cannot")

    monkeypatch.setattr(OnnxExport, "write", fail)
    with pytest.raises(SystemExit):
        export.main(["--run", str(run), "format=onnx"])
    assert (onnx / "export.json").read_bytes() == before
    assert [path.name for path in onnx.parent.iterdir()] == ["onnx"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["format=onx"], "format|export.*onx.*onnx"),
        (["export.tolerence=1"], "export.tolerence is not an option of export: did you mean 'tolerance'"),
        (["export.tolerance=2"], "export.tolerance is 2"),
        (["export.tolerance=much"], "export.tolerance is 'much'"),
        (["format=static", "export.dimensions=0"], "export.dimensions is 0"),
        (["loss=mnrl"], "'loss=mnrl' is not a setting of embexp.export"),
    ],
)
def test_a_wrong_setting_is_named(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        export_format(words)


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ([], OnnxExport()),
        (["format=onnx_int8", "export.tolerance=0.02"], OnnxExport(int8=True, tolerance=0.02)),
        (["format=openvino"], OpenvinoExport()),
        (["export=static"], StaticExport()),
    ],
)
def test_settings_choose_a_format(words: list[str], wanted: object) -> None:
    assert export_format(words) == wanted


@pytest.mark.parametrize(
    ("kind", "package", "extra"),
    [
        (OnnxExport(), "onnxscript", "export"),
        (OpenvinoExport(), "openvino", "openvino"),
        (StaticExport(), "model2vec", "export"),
    ],
)
def test_a_missing_package_is_named(
    kind: OnnxExport, package: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == package else find(name))
    with pytest.raises(ConfigError, match=rf'{package}.*pip install "embexp\[{extra}\]"'):
        kind.check_packages()


@pytest.fixture
def two_encoders(saved: Path) -> SentenceTransformer:
    """A model whose questions have an encoder of their own, with other weights, letters and a prompt."""
    import torch

    model = SentenceTransformer(str(saved), device="cpu", prompts={"query": "ask: ", "document": ""})
    QueryEncoder().extend(model)
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in model[0].sub_modules["query"].parameters():
            weight.add_(torch.randn_like(weight) * 0.1)
    transliterate_queries(model, {"к": "k"})
    return model


@pytest.mark.parametrize("kind", [OnnxExport(), OpenvinoExport()])
def test_each_of_two_encoders_is_exported(
    two_encoders: SentenceTransformer, kind: OnnxExport | OpenvinoExport, tmp_path: Path
) -> None:
    kind.check_packages()
    texts = [*TEXTS, "ккк"]
    kind.write(two_encoders, tmp_path)
    one = sorted(file.name for file in tmp_path.iterdir() if file.is_file())
    assert sorted(file.name for file in (tmp_path / "query").iterdir()) == one
    embedder = kind.load(tmp_path)
    asked = two_encoders.encode_query(texts, normalize_embeddings=True)
    searched = two_encoders.encode_document(texts, normalize_embeddings=True)
    least = 1 - (1e-5 if kind.name == "onnx" else 1e-3)  # bfloat16 in OpenVINO
    assert (embedder.encode_queries(texts) * asked).sum(axis=1).min() > least
    assert (embedder.encode_passages(texts) * searched).sum(axis=1).min() > least
    assert (asked * searched).sum(axis=1).max() < 0.99
    before = embedder.fingerprint
    (tmp_path / "query" / "prompts.json").write_text('{"query": "", "passage": ""}')
    assert kind.load(tmp_path).fingerprint != before


def test_an_adapter_of_the_questions_is_exported_with_its_model(saved: Path, tmp_path: Path) -> None:
    import torch

    model = SentenceTransformer(str(saved), device="cpu")
    QueryAdapter().extend(model)
    with torch.no_grad():
        next(model[-1].sub_modules["query"].parameters()).add_(0.3)
    OnnxExport().write(model, tmp_path)
    embedder = OnnxEmbedder(tmp_path)
    for encode, wanted in (
        (embedder.encode_queries, model.encode_query(TEXTS, normalize_embeddings=True)),
        (embedder.encode_passages, model.encode_document(TEXTS, normalize_embeddings=True)),
    ):
        np.testing.assert_allclose(encode(TEXTS), wanted, atol=1e-5)


def test_two_encoders_are_not_distilled(two_encoders: SentenceTransformer, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="distils one encoder: choose format=onnx"):
        StaticExport().write(two_encoders, tmp_path)


def test_a_model_that_model2vec_cannot_distil_is_refused(saved: Path, tmp_path: Path) -> None:
    from sentence_transformers.base.modules import Dense

    model = SentenceTransformer(str(saved), device="cpu")
    model.append(Dense(in_features=16, out_features=8))
    with pytest.raises(ModelError, match="Transformer, Pooling, Dense with mean pooling: choose format=onnx"):
        write_static(model, tmp_path, dimensions=8)


def test_a_module_that_torch_cannot_export_is_named(saved: Path, tmp_path: Path) -> None:
    import torch

    class Stubborn(torch.nn.Module):
        def forward(self, features: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
            raise NotImplementedError("no graph of this")

    model = SentenceTransformer(str(saved), device="cpu")
    model.append(Stubborn())
    with pytest.raises(ModelError, match=r"Stubborn.*cannot export to ONNX.*serve its folder"):
        OnnxExport().write(model, tmp_path)


def test_a_folder_that_is_no_export_is_kept(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine").write_text("precious")
    with pytest.raises(SystemExit):
        export.main(["--run", str(run), "--to", str(tmp_path), "format=onnx"])
    assert "is no export of embexp" in capsys.readouterr().err
    assert (tmp_path / "mine").read_text() == "precious"


def test_a_run_whose_questions_changed_is_refused(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(run, tmp_path / "run")
    lines = (run / "queries.jsonl").read_text(encoding="utf-8").splitlines()
    (tmp_path / "run" / "queries.jsonl").write_text("\n".join(lines[1:]), encoding="utf-8")
    with pytest.raises(SystemExit):
        export.main(["--run", str(tmp_path / "run"), "format=onnx"])
    assert "does not give the test questions that the run asked" in capsys.readouterr().err


def test_the_commands_of_the_page_run(run: Path, onnx: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs" / "production.md").read_text(encoding="utf-8")
    commands = re.findall(r"^python -m embexp\.export (.*?)(?: +#.*)?$", page, re.MULTILINE)
    assert len(commands) >= 3
    for each in commands:
        options = export.parser().parse_args(each.split())
        assert export_format(options.settings).name in ("adapter", "onnx", "onnx_int8", "openvino", "static")
    examples = re.findall(r"```py\n(.*?)```", page, re.DOTALL)
    (example,) = (each for each in examples if "outputs/DATE/TIME/export/onnx" in each)
    assert len(example.strip().splitlines()) <= 12
    monkeypatch.chdir(onnx)
    found: dict[str, np.ndarray] = {}
    exec(example.replace("outputs/DATE/TIME/export/onnx", "."), found)
    wanted = OnnxEmbedder(onnx).encode_passages(found["texts"])
    np.testing.assert_allclose(found["vectors"], wanted, atol=1e-5)
