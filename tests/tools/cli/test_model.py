"""`headrace model`: import, show, ask."""

from pathlib import Path

import pytest

from tests.tools.importer.folders import llama_tensors, write_folder
from tests.tools.models.world import decoder, encoder
from tools.cli.errors import Exit


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
