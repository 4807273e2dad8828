"""The blocks above the last final one, as far as we have them, and what the ledger thinks of them.

Memory bound: what a certificate or our own vote names, down to the final block, and two bodies a view of the
newest views. A leader may name any ancestors, but none is asked for that no certificate leads to, heights
fall by one from child to parent, and `BlockTree.keep` drops the rest with every view.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from chain.types.block import Block, Header
from chain.types.evidence import Evidence


class SafetyViolation(Exception):  # noqa: N818 - reads as a sentence where it is caught
    """Two certificates that cannot both exist: a third of the committee, or this machine, is wrong."""

    evidence: tuple[Evidence, ...] = ()
    """Against those who signed both; if the certificates are right, more than a third of the seats."""


@dataclass(frozen=True, slots=True)
class Missing:
    """A body that has to be fetched first."""

    digest: bytes


@dataclass(frozen=True, slots=True)
class Unchecked:
    """A block that the ledger can validate now, because its parent is ready."""

    digest: bytes
    block: Block


@dataclass(frozen=True, slots=True)
class Dead:
    """It, or an ancestor of it, is invalid or conflicts with the final chain."""

    fault: str


@dataclass(frozen=True, slots=True)
class Ready:
    """Executed here, with all of its ancestors."""


Readiness = Missing | Unchecked | Dead | Ready


class BlockTree:
    """Bodies by digest over a final base."""

    def __init__(self, base: Header, base_digest: bytes) -> None:
        self.base = base
        self.base_digest = base_digest
        self._blocks: dict[bytes, Block] = {}
        self._faults: dict[bytes, str | None] = {}

    def add(self, digest: bytes, block: Block) -> None:
        """Keep a body whose height is above the base."""
        if block.header.height > self.base.height:
            self._blocks.setdefault(digest, block)

    def block(self, digest: bytes) -> Block | None:
        """A body above the base."""
        return self._blocks.get(digest)

    def header(self, digest: bytes) -> Header | None:
        """Header of the base or of a body above it."""
        if digest == self.base_digest:
            return self.base
        block = self._blocks.get(digest)
        return None if block is None else block.header

    def judge(self, digest: bytes, fault: str | None) -> None:
        """Take the ledger's verdict; of a body that was dropped meanwhile it is of no use."""
        if digest in self._blocks:
            self._faults[digest] = fault

    def readiness(self, digest: bytes) -> Readiness:
        """What is the next thing to do before one may vote for or build on ``digest``."""
        unchecked: Unchecked | None = None
        child: Header | None = None
        while True:
            header = self.header(digest)
            if child is not None and header is not None and header.height + 1 != child.height:
                return Dead(f"height {child.height} does not follow height {header.height}")
            if digest == self.base_digest:
                return unchecked or Ready()
            if digest in self._faults:
                fault = self._faults[digest]
                if fault is not None:
                    return Dead(fault)
                return unchecked or Ready()
            block = self._blocks.get(digest)
            if block is None:
                return Missing(digest)
            if block.header.height <= self.base.height + 1 and block.header.parent != self.base_digest:
                return Dead(f"height {block.header.height} does not extend the final chain")
            unchecked = Unchecked(digest, block)
            child, digest = block.header, block.header.parent

    def path(self, digest: bytes) -> tuple[Block, ...] | Missing:
        """The blocks from above the base up to ``digest``, which a certificate made final.

        Raises:
            SafetyViolation: It does not descend from the base.
        """
        blocks: list[Block] = []
        while digest != self.base_digest:
            block = self._blocks.get(digest)
            if block is None:
                return Missing(digest)
            if block.header.height <= self.base.height + 1 and block.header.parent != self.base_digest:
                raise SafetyViolation(
                    f"final block {digest.hex()} at height {block.header.height} conflicts with final "
                    f"{self.base_digest.hex()} at height {self.base.height}"
                )
            blocks.append(block)
            digest = block.header.parent
        return tuple(reversed(blocks))

    def rebase(self, base: Header, base_digest: bytes) -> None:
        """Drop everything that is not above the new final block."""
        self.base, self.base_digest = base, base_digest
        self._blocks = {d: b for d, b in self._blocks.items() if b.header.height > base.height}
        self._faults = {d: fault for d, fault in self._faults.items() if d in self._blocks}

    def keep(self, named: Iterable[bytes]) -> None:
        """Drop every body but those of ``named`` and of their ancestors."""
        kept: dict[bytes, Block] = {}
        for digest in named:
            while digest not in kept and digest in self._blocks:
                kept[digest] = self._blocks[digest]
                digest = kept[digest].header.parent
        self._blocks = kept
        self._faults = {d: fault for d, fault in self._faults.items() if d in kept}
