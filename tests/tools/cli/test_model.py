"""`headrace model`: import, show, ask."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.tools.importer.folders import llama_tensors, write_folder
from tests.tools.models.world import decoder, encoder
from tools.cli.errors import Exit
from tools.importer.tensor_folder import SINGLE
from tools.models.artifact import MANIFEST


def test_import_show_and_ask(headrace, tmp_path: Path) -> None:
    """A byte-level model, so that no tokenizer is needed."""
    tensors = llama_tensors(vocabulary=256)
    folder, out = write_folder(tmp_path / "foreign", tensors, vocab_size=256), tmp_path / "model"
    text = tmp_path / "text"
    text.write_text("The wheel turns as the water comes down the race. " * 200)
    line = ["model", "import", str(folder), "--out", str(out), "--text", str(text), "--device", "reference"]
    made = headrace(*line, "--positions", "48", "--name", "tiny", "--json")
    assert made.code == Exit.OK, made.err
    assert made.err == ""
    assert made.document["name"] == "tiny"
    assert abs(float(made.document["accuracy"]["perplexity_ratio"]) - 1) < 0.02
    again = headrace(*line)
    assert again.code == Exit.ERROR
    assert "exists" in again.err and "--out" in again.err
    shown = headrace("model", "show", str(out), "--check", "--json")
    assert shown.document == made.document
    people = headrace("model", "show", str(out))
    assert "llama, 2 layers of width 32" in people.out and made.document["model_id"] in people.out
    ask = ["model", "ask", str(out), "The wheel", "--tokens", "5", "--device", "reference", "--json"]
    assert headrace(*ask).document["tokens"] == headrace(*ask).document["tokens"]
    ask += ["--temperature", "1.5", "--top-k", "40", "--top-p", "0.9", "--seed", "7"]
    drawn = headrace(*ask).document
    assert drawn == headrace(*ask).document
    assert (drawn["prompt_tokens"], len(drawn["tokens"]), drawn["seed"]) == (9, 5, "7")


def test_whoever_says_how_to_draw_draws(headrace, tmp_path: Path) -> None:
    decoder(tmp_path / "model")
    ask = ["model", "ask", str(tmp_path / "model"), "The wheel", "--tokens", "3", "--json"]
    ask += ["--device", "reference"]
    assert headrace(*ask).document["seed"] is None
    for word in (["--seed", "7"], ["--top-p", "0.9"], ["--top-k", "3"]):
        assert headrace(*ask, *word).document["seed"] is not None
    assert headrace(*ask, "--seed", "7", "--temperature", "0").document["seed"] is None


def test_a_text_that_ends_for_want_of_room_says_so(headrace, tmp_path: Path) -> None:
    decoder(tmp_path / "model")
    ask = ["model", "ask", str(tmp_path / "model"), "The wheel", "--tokens", "999", "--device", "reference"]
    assert "tokens at most: the text ends there" in headrace(*ask).err


def test_what_an_encoder_has_no_figures_for_is_not_shown(headrace, tmp_path: Path) -> None:
    """It chooses no tokens: a loss of 0 and a perplexity of 1 would mean nothing."""
    encoder(tmp_path / "encoder")
    written = json.loads((tmp_path / "encoder" / MANIFEST).read_text())
    figures = dict.fromkeys(("cosine", "least_cosine", "agreement"), "0.990000")
    losses = {"float_loss": "0.000000", "integer_loss": "0.000000", "perplexity_ratio": "1.000000"}
    common = {"tokens": 48, "layers": ["0.010000"]}
    written["artifact"]["accuracy"] = {**figures, **losses, **common}
    document = json.dumps(written, sort_keys=True, separators=(",", ":")) + "\n"
    (tmp_path / "encoder" / MANIFEST).write_text(document)
    shown = headrace("model", "show", str(tmp_path / "encoder"), "--json")
    assert shown.document["accuracy"] == {**figures, **common}
    people = headrace("model", "show", str(tmp_path / "encoder")).out
    assert "0.99000 at worst" in people and "perplexity" not in people


def write_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def cut(folder: Path) -> None:
    path = folder / SINGLE
    path.write_bytes(path.read_bytes()[:-7])


DAMAGES: dict[str, tuple[Callable[[Path], object], str, str, str]] = {
    "no config": (
        lambda f: (f / "config.json").unlink(),
        "MISSING",
        "no file config.json",
        "holds config.json",
    ),
    "no tensors": (
        lambda f: (f / SINGLE).unlink(),
        "MISSING",
        f"no file {SINGLE}",
        f"holds config.json, {SINGLE}",
    ),
    "pickled": (
        lambda f: (f / SINGLE).rename(f / "pytorch_model.bin"),
        "MISSING",
        "it can hold code",
        "in safetensors",
    ),
    "cut short": (cut, "MALFORMED", f"the tensors of {SINGLE} end at", "fetch it"),
    "no JSON": (lambda f: (f / "config.json").write_text("{nope"), "MALFORMED", "config.json", "fetch it"),
    "another kind": (
        lambda f: write_config(f, model_type="gpt2"),
        "UNSUPPORTED",
        "gpt2, known are llama",
        "choose",
    ),
    "no kind": (lambda f: write_config(f, model_type=None), "MISSING", "has no model_type", "add it"),
    "a scaling": (
        lambda f: write_config(f, rope_scaling={"type": "yarn"}),
        "UNSUPPORTED",
        "'yarn': it scales",
        "choose",
    ),
    "another model's": (
        lambda f: write_config(f, num_hidden_layers=3),
        "MISSING",
        "no tensor model.layers.2",
        "not of one model",
    ),
    "other sizes": (
        lambda f: write_config(f, intermediate_size=49),
        "SHAPE",
        "(48, 32), the configuration",
        "not of one model",
    ),
    "another type": (
        lambda f: (f / SINGLE).write_bytes((f / SINGLE).read_bytes().replace(b'"F32"', b'"I32"')),
        "UNSUPPORTED",
        "of type I32, read are",
        "save the model",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_an_import_that_fails_says_what_to_do(headrace, tmp_path: Path, damage: str) -> None:
    change, reason, message, step = DAMAGES[damage]
    folder = write_folder(tmp_path / "foreign", llama_tensors(vocabulary=256), vocab_size=256)
    change(folder)
    line = ["model", "import", str(folder), "--out", str(tmp_path / "out"), "--device", "reference", "--json"]
    failed = headrace(*line)
    assert failed.code == Exit.ERROR
    assert failed.error["code"] == f"MODEL_{reason}"
    assert message in failed.error["message"] and "\n" not in failed.error["message"]
    assert step in failed.error["next"]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [(None, "no file"), (b"hi", "0 pieces of text"), (b"\xff\xfe", "is no text")],
)
def test_a_text_that_cannot_set_scales(headrace, tmp_path: Path, text: bytes | None, message: str) -> None:
    folder = write_folder(tmp_path / "foreign", llama_tensors(vocabulary=256), vocab_size=256)
    if text is not None:
        (tmp_path / "text").write_bytes(text)
    line = ["model", "import", str(folder), "--out", str(tmp_path / "out"), "--text", str(tmp_path / "text")]
    failed = headrace(*line, "--device", "reference", "--json")
    assert message in failed.error["message"]
    assert "--text" in failed.error["next"]


def test_what_the_disk_refuses(headrace, tmp_path: Path) -> None:
    """As with a folder that may not be read, which nobody can make for whoever may read all."""
    folder = write_folder(tmp_path / "foreign", llama_tensors(vocabulary=256), vocab_size=256)
    line = ["model", "import", str(folder), "--out", str(tmp_path / "out"), "--text", str(tmp_path), "--json"]
    failed = headrace(*line, "--device", "reference")
    assert (failed.error["code"], failed.error["message"]) == ("DISK", f"{tmp_path}: Is a directory")
    assert "may be read" in failed.error["next"]


def test_an_encoder_compares(headrace, tmp_path: Path) -> None:
    encoder(tmp_path / "model")
    line = ["model", "ask", str(tmp_path / "model"), "a mill", "a river", "--device", "reference"]
    assert [round(row[i], 6) for i, row in enumerate(headrace(*line, "--json").document["cosines"])] == [1, 1]
    assert "1.0000" in headrace(*line).out


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (["import", "{}/nothing", "--out", "{}/out"], "MODEL_MISSING"),
        (["show", "{}"], "MODEL_MISSING"),
        (["ask", "{}", "text"], "MODEL_MISSING"),
        (["ask", "{}/model", "text" * 99, "--device", "reference"], "MODEL_SHAPE"),
    ],
)
def test_failures_have_codes(headrace, tmp_path: Path, line: list[str], code: str) -> None:
    decoder(tmp_path / "model")
    result = headrace("model", *(part.format(tmp_path) for part in line), "--json")
    assert result.code == Exit.ERROR
    assert result.out == ""
    assert result.error["code"] == code


def test_a_decoder_reads_one_text(headrace, tmp_path: Path) -> None:
    decoder(tmp_path / "model")
    result = headrace("model", "ask", str(tmp_path / "model"), "a", "b", "--device", "reference")
    assert result.code == Exit.USAGE
