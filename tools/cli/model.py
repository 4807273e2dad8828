"""`headrace model`: import a model, look at it, ask it, all on this machine."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from tools.cli.errors import CliError
from tools.cli.options import json_option
from tools.cli.output import emit, pairs, table

if TYPE_CHECKING:
    from pouw.backends.backend import Backend
    from tools.models.artifact import Accuracy, Artifact, LoadedModel

_DEVICES: Final = ("auto", "cpu", "reference")
_FOREIGN: Final = "name a folder that holds config.json, model.safetensors and tokenizer.json"
_OWN: Final = "name a folder that `headrace model import` wrote"

_STEPS: Final = {
    "MALFORMED": "the file is damaged or was cut short: fetch it, or import the model, again",
    "OVERSIZE": "this is beyond what is read: choose a smaller model",
    "SHAPE": "choose sizes within those of the model",
    "UNSUPPORTED": "choose a plain model of the Llama or of the BERT family, in safetensors files",
}
"""What to do about each reason, unless the error knows better."""

_DISK: Final = "see that the folders may be read and written, and that there is room"
_OTHER_OUT: Final = "name another folder with --out"

device_option: Final = click.option(
    "--device", type=click.Choice(_DEVICES), default="auto", show_default=True, help="What to compute on."
)


@click.command(
    name="import",
    epilog="Example: headrace model import ./tiny-llama --out models/tiny --text sample.txt",
)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Folder to write; must not exist."
)
@click.option(
    "--text", type=click.Path(path_type=Path),
    help="Text like that which the model will read.  [default: Python's documentation]",
)  # fmt: skip
@click.option("--name", default="", help="Name of the model.  [default: the folder's]")
@click.option("--positions", type=click.IntRange(1), help="Longest text.  [default: the model's]")
@click.option(
    "--pooling", type=click.Choice(["mean", "first", "pooler"]), default="mean", show_default=True,
    help="What an encoder answers.",
)  # fmt: skip
@device_option
@json_option
def import_(
    folder: Path, out: Path, text: Path | None, name: str, positions: int | None, pooling: str, device: str,
    *, as_json: bool,
) -> None:  # fmt: skip
    """Turn a Hugging Face FOLDER of the Llama or the BERT family into exact integers.

    FOLDER holds config.json, model.safetensors (or its index and parts) and tokenizer.json. How far the
    integer model is from the float one is measured and written into the result's manifest.
    """
    from pouw.models.bert import Pooling
    from tools.importer.import_model import ImportOptions, import_model

    options = ImportOptions(name, positions or 0, Pooling[pooling.upper()], text)
    if out.exists():
        # Said before a backend is loaded; `import_model` looks again.
        raise CliError(f"{out} exists", code="EXISTS", next_step=_OTHER_OUT)
    with _failures(_FOREIGN):
        artifact = import_model(folder, out, options, _backend(device), progress=_progress(as_json))
    _show(artifact, out, as_json=as_json)


@click.command(epilog="Example: headrace model show models/tiny")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--check", is_flag=True, help="Compare every tensor with its root.")
@json_option
def show(folder: Path, *, check: bool, as_json: bool) -> None:
    """Show what an imported model is, and how far from the float model it was made of."""
    from tools.models.artifact import load_artifact, read_artifact

    with _failures():
        if check:
            artifact = load_artifact(folder, progress=_progress(as_json)).artifact
        else:
            artifact = read_artifact(folder)
    _show(artifact, folder, as_json=as_json)


@click.command(
    epilog='Examples: headrace model ask models/tiny "The import statement" --tokens 40 --top-p 0.9 --seed 7;'
    '  headrace model ask models/encoder "a mill" "a river" "a spreadsheet"'
)
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.argument("texts", metavar="TEXT...", nargs=-1, required=True)
@click.option("--tokens", type=click.IntRange(1), default=64, show_default=True, help="Tokens to write.")
@click.option(
    "--temperature", type=click.FloatRange(0, 255),
    help="0 takes the likeliest token; 1 draws as the model says.  [default: 0; 1 if drawn]",
)  # fmt: skip
@click.option("--top-k", type=click.IntRange(0), default=0, help="Draw from so many of the likeliest tokens.")
@click.option("--top-p", type=click.FloatRange(0, 1), default=1.0, help="Draw from this share of them.")
@click.option("--seed", help="Draw the same again.  [default: a new one]")
@device_option
@json_option
def ask(
    folder: Path, texts: tuple[str, ...], tokens: int, temperature: float | None, top_k: int, top_p: float,
    seed: str | None, device: str, *, as_json: bool,
) -> None:  # fmt: skip
    """Ask an imported model: a decoder goes on after TEXT, an encoder compares TEXTs.

    The same question gives the same answer, to the bit, on every machine; a drawn one with the same seed.
    Tokens are drawn if a temperature, --top-k, --top-p or --seed is given.
    """
    from tools.models.artifact import load_artifact

    with _failures():
        model = load_artifact(folder, progress=_progress(as_json))
        backend = _backend(device)
        if model.artifact.bert is not None:
            _embed(model, texts, backend, as_json=as_json)
            return
        if len(texts) != 1:
            raise click.BadParameter("a decoder reads one text", param_hint="TEXT")
        if temperature is None:
            # Whoever says how to draw wants to draw.
            temperature = 1.0 if top_k or top_p < 1 or seed is not None else 0.0
        sampling = _sampling(temperature, top_k, top_p, seed)
        _write(model, texts[0], tokens, sampling, backend, as_json=as_json)


def _write(
    model: "LoadedModel", text: str, count: int, sampling: Any, backend: "Backend", *, as_json: bool
) -> None:
    from tools.models.local import answer

    written = answer(model, text, count=count, sampling=sampling, backend=backend)
    positions = model.artifact.manifest.shape.positions
    if len(written.tokens) < count and not written.ended and not as_json:
        click.echo(f"the model reads {positions} tokens at most: the text ends there", err=True)
    document = {
        "model_id": model.artifact.manifest.digest.hex(),
        "text": written.text,
        "tokens": list(written.tokens),
        "prompt_tokens": written.prompt,
        "ended": written.ended,
        "seed": None if sampling is None else sampling.seeds[0].decode(),
        "device": backend.name,
    }
    emit(document, [text + written.text], as_json=as_json)


def _embed(model: "LoadedModel", texts: tuple[str, ...], backend: "Backend", *, as_json: bool) -> None:
    from tools.models.local import cosine, embed

    vectors = embed(model, texts, backend)
    near = [[cosine(left, right) for right in vectors] for left in vectors]
    document = {
        "model_id": model.artifact.manifest.digest.hex(),
        "embeddings": vectors,
        "cosines": near,
        "device": backend.name,
    }
    if len(texts) == 1:
        shown = [" ".join(f"{value:.4f}" for value in vectors[0])]
    else:
        rows = [
            [text[:40], *(f"{value:.4f}" for value in row)] for text, row in zip(texts, near, strict=True)
        ]
        shown = table(["cosine", *(str(number) for number in range(1, len(texts) + 1))], rows)
    emit(document, shown, as_json=as_json)


def _sampling(temperature: float, top_k: int, top_p: float, seed: str | None) -> Any:
    from pouw.arithmetic.transformer_rows import TOP_P_ALL
    from pouw.models.token_sampling import Sampling

    if temperature == 0:
        return None
    chosen = (seed if seed is not None else secrets.token_hex(8)).encode()
    return Sampling(
        (chosen,), max(1, round(temperature * 256)), top_k, min(max(1, round(top_p * TOP_P_ALL)), TOP_P_ALL)
    )


def _show(artifact: "Artifact", folder: Path, *, as_json: bool) -> None:
    from tools.models.records import write_record

    manifest, found = artifact.manifest, artifact.accuracy
    values = sum(weight.spec.rows * weight.spec.cols for weight in manifest.weights)
    size = sum(weight.spec.rows * weight.spec.row_bytes for weight in manifest.weights)
    document = {
        "folder": str(folder),
        "artifact": artifact.id.hex(),
        "model_id": manifest.digest.hex(),
        "name": manifest.name,
        "family": artifact.family,
        "shape": write_record(manifest.shape),
        "values": values,
        "bytes": size,
        "residual": manifest.residual.name,
        "tokenizer": None if artifact.tokenizer is None else artifact.tokenizer.blake3.hex(),
        "accuracy": accuracy_document(found, encoder=artifact.bert is not None),
    }
    shape = manifest.shape
    lines = [
        ("name", manifest.name),
        ("family", f"{artifact.family}, {shape.layers} layers of width {shape.width}, {values:,} values"),
        ("size", f"{size / 1e6:.1f} MB, texts up to {shape.positions} tokens"),
        ("model id", manifest.digest.hex()),
        ("artifact", artifact.id.hex()),
        ("tokenizer", "bytes" if artifact.tokenizer is None else artifact.tokenizer.blake3.hex()),
    ]
    if found is not None:
        worst = max(found.layers)
        if artifact.llama is not None:
            losses = f"{found.integer_loss:.4f} against {found.float_loss:.4f} in float"
            lines.append(("loss", f"{losses}, perplexity {found.perplexity_ratio:.4f} times"))
        lines += [
            ("cosine", f"{found.cosine:.5f} in the mean, {found.least_cosine:.5f} at worst"),
            ("same choice", f"{found.agreement:.1%} of {'tokens' if artifact.llama else 'texts'}"),
            ("layers", f"{worst:.2%} relative error at worst, over {found.tokens} tokens"),
        ]
    emit(document, pairs(lines), as_json=as_json)


def accuracy_document(accuracy: "Accuracy | None", *, encoder: bool) -> Any:
    """The figures that mean something: an encoder chooses no tokens, so it has no loss and no perplexity."""
    from tools.models.records import write_record

    document = write_record(accuracy)
    if accuracy is not None and encoder:
        for name in ("float_loss", "integer_loss", "perplexity_ratio"):
            del document[name]
    return document


def _backend(device: str) -> "Backend":
    from pouw.backends.select import select_backend

    return select_backend(device)


def _progress(as_json: bool) -> Callable[[str], None]:
    def say(line: str) -> None:
        if not as_json:
            click.echo(f"{line} ...", err=True)

    return say


@contextmanager
def _failures(missing: str = _OWN) -> Iterator[None]:
    """What goes wrong, as exit codes.

    Args:
        missing: what to do if the folder has not what it must have.
    """
    from pouw.backends.backend import BackendError
    from pouw.program_error import ProgramError
    from tools.importer.errors import ModelImportError

    try:
        yield
    except ModelImportError as error:
        step = error.next_step or _STEPS.get(error.reason.name, missing)
        raise CliError(str(error), code=f"MODEL_{error.reason.name}", next_step=step) from None
    except ProgramError as error:
        raise CliError(
            str(error), code=f"PROGRAM_{error.reason.name}", next_step="this model cannot be computed exactly"
        ) from None
    except BackendError as error:
        raise CliError(str(error), code="BACKEND", next_step="see `headrace miner devices`") from None
    except FileExistsError as error:
        raise CliError(_exists(error), code="EXISTS", next_step=_OTHER_OUT) from None
    except OSError as error:
        raise CliError(f"{error.filename}: {error.strerror}", code="DISK", next_step=_DISK) from None


def _exists(error: FileExistsError) -> str:
    return str(error) if error.filename is None else f"{error.filename} exists, and is no folder"
