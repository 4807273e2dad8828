"""The GPU's backend on the host, in Triton's interpreter, against the reference: a process of `test_triton`.

`TRITON_INTERPRET=1 python -m tests.pouw.interpreted EXAMPLES`
"""

import sys

import numpy as np
import torch

from pouw.backends.backend import Backend
from pouw.backends.cpu import open_cpu
from pouw.backends.cuda import CudaBackend
from pouw.backends.reference import ReferenceBackend
from pouw.ops.kind import OpKind
from pouw.tensors import Array
from tests.pouw.drawn_ops import for_drawn, result


def main() -> None:
    """Fail on the first op that differs; print how many did not."""
    host = open_cpu(threads=1)
    reference = ReferenceBackend()
    # Without a GPU both ways of padding and both of multiplying are still there to be tried.
    backends: list[Backend] = [
        CudaBackend(torch.device("cpu"), fast=fast, host=host) for fast in {host.fast, False}
    ]
    count = 0

    def agree(kind: OpKind, operands: list[Array]) -> None:
        nonlocal count
        expected = result(reference, kind, operands)
        for backend in backends:
            got = result(backend, kind, operands)
            assert got.dtype == expected.dtype, (kind, got.dtype)
            assert np.array_equal(got, expected), (kind, [operand.shape for operand in operands])
        count += 1

    for_drawn(int(sys.argv[1]), agree)
    print(count)


if __name__ == "__main__":
    main()
