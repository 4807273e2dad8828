"""A small artifact of pseudo-random integers, made without any library."""

from pathlib import Path

from pouw.models.bert import BertShape
from pouw.models.llama import LlamaShape
from tests.pouw.bert_world import integer_bert
from tests.pouw.llama_world import integer_llama
from tools.models.artifact import Accuracy, Artifact, FileId, Provenance, write_artifact

DECODER = LlamaShape(
    vocabulary=256, width=32, layers=1, heads=4, kv_heads=2, head_dim=8, hidden=48, positions=40
)
ENCODER = BertShape(vocabulary=256, width=32, layers=1, heads=4, hidden=48, positions=40)

SOURCE = Provenance(FileId(3, b"a" * 32), FileId(4, b"b" * 32), "as they are")
ACCURACY = Accuracy(10, 1.5, 1.25, 0.5, 0.75, 0.25, 1.0, (0.0, 0.5))


def decoder(folder: Path, *, ends: tuple[int, ...] = ()) -> Artifact:
    """A byte-level decoder at a folder."""
    manifest, weights = integer_llama(DECODER)
    artifact = Artifact(manifest, None, None, ends, SOURCE, ACCURACY)
    write_artifact(folder, artifact, weights)
    return artifact


def encoder(folder: Path) -> Artifact:
    """A byte-level encoder at a folder."""
    manifest, weights = integer_bert(ENCODER)
    artifact = Artifact(None, manifest, None, (), None, None)
    write_artifact(folder, artifact, weights)
    return artifact
