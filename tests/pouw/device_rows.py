"""Trees that are made where tensors lie, against those of the host: leaves of drawn shapes, commits, proofs.

`TRITON_INTERPRET=1 python -m tests.pouw.device_rows EXAMPLES [all]`: in the interpreter, for `test_triton`.
"""

import sys
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pouw.arithmetic.generator import random_bytes
from pouw.backends import cuda_rows
from pouw.backends.backend import Backend
from pouw.backends.cpu import open_cpu
from pouw.backends.cuda import CudaBackend
from pouw.backends.known_rows import SHAPES, SMALL, check_rows
from pouw.proofs.commitment import CommitBuilder
from pouw.proofs.verifier import Statement, check_proof
from pouw.tensors import DType, TensorSpec
from pouw.trace import Outputs
from pouw.trees import merkle
from pouw.trees.bulk_rows import level_sizes
from pouw.trees.rows import join_rows, leaf_hash, tensor_key
from tests.pouw.world import CHAIN, MINER, SEED, WEIGHTS, commons_job, paid_job

KEY = tensor_key(bytes(32), 0, TensorSpec(1, 1, DType.INT8))
MOST_LEAVES = 40
"""Of a drawn tensor; the interpreter takes a third of a second for a block of all lanes."""

PARTS = st.sampled_from([64, 128, 256, 1024])
ROWS = st.integers(1, 200) | st.sampled_from([16, 48, 64, 65, 1023, 1024, 1025, 1040, 3000])


@st.composite
def shaped(draw: st.DrawFn) -> SimpleNamespace:
    """What the kernels are told of a tensor; a `TensorSpec` of a few leaves never has long ones."""
    part, row = draw(PARTS), draw(ROWS)
    per_leaf = 1 << max(0, (part // row).bit_length() - 1)
    per_row = -(-row // part)
    rows = draw(st.integers(1, max(1, MOST_LEAVES // per_row * per_leaf)))
    return SimpleNamespace(
        rows=rows, row_bytes=row, part_bytes=part, rows_per_leaf=per_leaf, leaves_per_row=per_row,
        leaves=-(-rows // per_leaf) * per_row,
    )  # fmt: skip


@st.composite
def filled(draw: st.DrawFn, size: int) -> bytearray:
    """Extreme bytes or pseudo-random ones, with runs of zeros."""
    value = draw(st.sampled_from([None, None, 0, 1, 127, 128, 255]))
    path = (draw(st.integers(0, 99)),)
    data = bytearray(random_bytes(b"rows", path=path, count=size) if value is None else bytes([value]) * size)
    for start, length in draw(
        st.lists(st.tuples(st.integers(0, size - 1), st.integers(1, 3000)), max_size=9)
    ):
        data[start : start + length] = bytes(len(data[start : start + length]))
    return data


def leaves_of(spec: SimpleNamespace, data: bytes) -> list[bytes]:
    """Line by line, in parts."""
    line = spec.rows_per_leaf * spec.row_bytes
    lines = [data[start : start + line] for start in range(0, len(data), line)]
    return [
        whole[start : start + spec.part_bytes]
        for whole in lines
        for start in range(0, len(whole), spec.part_bytes)
    ]


def nodes_agree(device: torch.device, examples: int) -> None:
    """Leaves and all levels above them, byte for byte, wherever in memory they begin."""

    @settings(
        max_examples=examples, deadline=None, derandomize=True, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.data(), shaped(), st.sampled_from([0, 4]))
    def agree(source: st.DataObject, spec: SimpleNamespace, offset: int) -> None:
        data = source.draw(filled(spec.rows * spec.row_bytes))
        leaves = [leaf_hash(KEY, leaf) for leaf in leaves_of(spec, bytes(data))]
        assert len(leaves) == spec.leaves
        expected = [node for level in merkle.levels(leaves, join_rows) for node in level]
        there = torch.frombuffer(bytearray(offset) + data, dtype=torch.uint8).to(device)[offset:]
        nodes = torch.full((len(expected), 8), -1, dtype=torch.int32, device=device)
        cuda_rows._hash_leaves(KEY, spec, there, nodes)
        cuda_rows._hash_levels(level_sizes(spec.leaves), nodes)
        assert [node.tobytes() for node in nodes.cpu().numpy()] == expected, (spec, offset)

    agree()


def commits_agree(backend: Backend) -> None:
    """Of an item that is kept and one that is run again; before a proof, tensors stay on the device."""
    jobs = [paid_job(0), commons_job(0)]
    added, worked = CommitBuilder(CHAIN, MINER), CommitBuilder(CHAIN, MINER)
    with patch("pouw.proofs.commitment.LARGE_TRACE", 1):
        for job in jobs:
            added.add(job.item_id, job.program, job.run(), answered=job.answered)
            trace = worked.work(
                job.item_id, job.program, WEIGHTS, job.inputs, backend,
                answered=job.answered, rerun=job is jobs[1],
            )  # fmt: skip
            assert isinstance(trace.tensors, Outputs)
            assert list(trace.tensors._here) == list(range(1 if backend.rows else len(trace.tensors)))
        assert worked.root == added.root
        proof = worked.prove(SEED, 64)
    assert proof == added.prove(SEED, 64)
    statement = Statement(CHAIN, MINER, [job.work() for job in jobs], worked.root, worked.units)
    check_proof(statement, proof, seed=SEED, samples=64)


def a_copy_opens(backend: Backend) -> None:
    """`over`: the tree of the device, the bytes of the host."""
    assert backend.rows is not None
    spec = TensorSpec(9, 40, DType.INT16)
    array = np.arange(360, dtype="<i2").reshape(9, 40)
    tree = backend.rows.tree(KEY, spec, backend.put(array))
    copy = tree.over(array)
    assert (copy.root, copy.nodes.size, copy.nodes.path([1])) == (
        tree.root,
        tree.nodes.size,
        tree.nodes.path([1]),
    )
    assert copy.read(range(80, 90)) == tree.read(range(80, 90)) == array.tobytes()[80:90]


def all_agree(backend: CudaBackend, examples: int, *, everything: bool) -> None:
    """Fail where the device and the host differ; then where the device hashes no more.

    Args:
        backend: the device.
        examples: drawn tensors.
        everything: the whole known-answer test.
    """
    check_rows(backend, SHAPES if everything else SMALL)
    nodes_agree(backend.device, examples)
    a_copy_opens(backend)
    commits_agree(backend)
    backend._rows = None
    commits_agree(backend)


def main() -> None:
    """In Triton's interpreter."""
    backend = CudaBackend(torch.device("cpu"), fast=False, host=open_cpu(threads=1))
    all_agree(backend, int(sys.argv[1]), everything="all" in sys.argv)


if __name__ == "__main__":
    main()
