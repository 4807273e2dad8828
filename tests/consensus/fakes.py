"""Small twins of what surrounds consensus: a trivial ledger, a disk that can lose power, keys."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from chain.codec import encode
from chain.execution.invalid import BlockReason, InvalidBlock
from chain.hashing import digest
from chain.types.block import Block, Header, next_beacon, transactions_root
from chain.types.committee import Committee, Validator
from chain.types.params import MIN_SAMPLES, ChainParams
from consensus.ledger import BuildRequest
from consensus.messages import Certificate
from consensus.signing.disk import DiskBusyError

CHAIN_ID = "test-chain"
NO_TRANSACTIONS = transactions_root(())


class TagKey:
    """A key whose signatures are quick tags that anybody could forge: for simulations that check none."""

    def __init__(self, name: int) -> None:
        self.public_key = name.to_bytes(2, "big") + hashlib.sha256(b"key%d" % name).digest()[2:]

    def sign(self, message: bytes) -> bytes:
        return hashlib.sha512(self.public_key + message).digest()


def committee_of(keys: Iterable[bytes], seats: Callable[[int], int] = lambda _: 1) -> Committee:
    validators = [Validator(key, key, seats(i)) for i, key in enumerate(keys)]
    return Committee(tuple(sorted(validators, key=lambda v: v.consensus_key)))


def params(
    *, epoch_length: int = 4, block_interval_ms: int = 500, network_delay_ms: int = 1000
) -> ChainParams:
    names = ChainParams.__dataclass_fields__
    values: dict[str, object] = dict.fromkeys(names, 1)
    values |= {"chain_id": CHAIN_ID, "address_prefix": "test", "max_block_bytes": 1 << 20}
    values |= {"epoch_length": epoch_length, "block_interval_ms": block_interval_ms}
    values |= {"network_delay_ms": network_delay_ms, "samples": MIN_SAMPLES, "target_block_weight": 1 << 20}
    return ChainParams(**values)  # type: ignore[arg-type]


def genesis(committee: Committee) -> Header:
    return Header(
        version=1, chain_id=CHAIN_ID, height=0, epoch=0, view=0, parent=bytes(32), timestamp_ms=0,
        proposer=bytes(32), vrf_proof=bytes(80), beacon=digest("test/beacon"), base_fee=1,
        transactions_root=NO_TRANSACTIONS, receipts_root=bytes(32), state_root=bytes(32),
        next_committee_root=committee.root,
    )  # fmt: skip


class ChainTwin:
    """The final chain and speculative blocks; a block is valid if it extends its parent as below."""

    def __init__(self, chain_params: ChainParams, committees: Callable[[int], Committee]) -> None:
        self.params = chain_params
        self._committees = committees
        start = genesis(committees(0))
        self.headers = {start.digest: start}
        self.blocks: dict[bytes, Block] = {}
        self.final: list[bytes] = [start.digest]
        self.certificates: dict[int, Certificate] = {}

    def restarted(self) -> "ChainTwin":
        """What is left after the process died: the final chain."""
        twin = ChainTwin(self.params, self._committees)
        twin.final, twin.certificates = list(self.final), dict(self.certificates)
        twin.blocks = {d: self.blocks[d] for d in self.final[1:]}
        twin.headers = {d: self.headers[d] for d in self.final}
        return twin

    @property
    def final_head(self) -> Header:
        return self.headers[self.final[-1]]

    def committee(self, epoch: int) -> Committee:
        assert epoch <= self.params.epoch_of(self.final_head.height + 1), (
            f"committee of {epoch} is not known yet"
        )
        return self._committees(epoch)

    def block(self, digest: bytes) -> Block | None:
        return self.blocks.get(digest)

    def height_of(self, digest: bytes) -> int | None:
        return self.final.index(digest) if digest in self.final else None

    def final_block(self, height: int) -> Block | None:
        return Block(self.headers[self.final[height]], ()) if height < len(self.final) else None

    @property
    def first_block(self) -> int:
        return 1

    def encoded_block(self, height: int) -> bytes | None:
        block = self.final_block(height)
        return None if block is None else encode(block)

    def final_header(self, height: int) -> Header | None:
        return self.headers[self.final[height]] if height < len(self.final) else None

    def finalization(self, height: int) -> Certificate | None:
        later = range(height, len(self.final))
        return next((self.certificates[h] for h in later if h in self.certificates), None)

    def check(self, block: Block, name: bytes) -> None:
        header = block.header
        if name in self.headers:
            return
        parent = self.headers.get(header.parent)
        assert parent is not None, "validated before its parent"
        expected = self._child(parent, header.parent, header.view, header.timestamp_ms, header.proposer)
        if header.timestamp_ms <= parent.timestamp_ms:
            raise InvalidBlock(BlockReason.TIMESTAMP_TOO_EARLY, f"{header.timestamp_ms}")
        if header != replace(expected, vrf_proof=header.vrf_proof, beacon=header.beacon):
            raise InvalidBlock(BlockReason.WRONG_STATE_ROOT, f"{header} is not {expected}")
        self._keep(block, name)

    def make(self, request: BuildRequest) -> Block:
        parent = self.headers[request.parent]
        header = self._child(parent, request.parent, request.view, request.timestamp_ms, request.proposer)
        beacon = next_beacon(parent.beacon, request.vrf_proof)
        block = Block(replace(header, vrf_proof=request.vrf_proof, beacon=beacon), ())
        self._keep(block, block.digest)
        return block

    def settle(self, blocks: Sequence[Block], certificate: Certificate) -> None:
        for block in blocks:
            name = block.digest
            assert block.header.parent == self.final[-1], "not the next final block"
            self.check(block, name)
            self.final.append(name)
        assert certificate.digest == self.final[-1]
        self.certificates[len(self.final) - 1] = certificate

    async def validate(self, block: Block) -> None:
        self.check(block, block.digest)

    async def build(self, request: BuildRequest) -> Block:
        return self.make(request)

    async def finalize(self, blocks: Sequence[Block], certificate: Certificate) -> None:
        self.settle(blocks, certificate)

    def _keep(self, block: Block, name: bytes) -> None:
        self.blocks[name] = block
        self.headers[name] = block.header

    def _child(self, parent: Header, digest_: bytes, view: int, timestamp_ms: int, proposer: bytes) -> Header:
        height = parent.height + 1
        return replace(
            parent, height=height, epoch=self.params.epoch_of(height), view=view, parent=digest_,
            timestamp_ms=timestamp_ms, proposer=proposer, transactions_root=NO_TRANSACTIONS,
            state_root=digest("test/state", parent.state_root),
            next_committee_root=self._committees(self.params.epoch_of(height + 1)).root,
        )  # fmt: skip


class PowerCut(Exception):  # noqa: N818 - reads as a sentence where it is caught
    """The machine stopped in the middle of a write."""


class SimDisk:
    """A `consensus.signing.disk.Disk` in memory that can stop in the middle of a write."""

    def __init__(self) -> None:
        self.data: bytes | None = None
        self.locked = False
        self.writes = self.rewrites = 0
        self.lies_at = bytes([1]) * 32
        self.cut: int | None = None
        """At the next append keep this many thousandths of the data and fail; at the next replacement keep
        the old data if it is below 500."""

    def place(self) -> bytes:
        return self.lies_at

    def lock(self) -> None:
        if self.locked:
            raise DiskBusyError("in use")
        self.locked = True

    def read(self) -> bytes | None:
        return self.data

    def append(self, data: bytes) -> None:
        assert self.data is not None
        self.writes += 1
        if self.cut is not None:
            kept, self.cut = len(data) * self.cut // 1000, None
            self.data += data[:kept]
            raise PowerCut
        self.data += data

    def replace(self, data: bytes) -> None:
        self.rewrites += 1
        if self.cut is not None:
            is_new, self.cut = self.cut >= 500, None
            self.data = data if is_new else self.data
            raise PowerCut
        self.data = data

    def close(self) -> None:
        self.locked = False


class MemoryJournal:
    """A `consensus.safe_store.Journal` that outlives its node."""

    def __init__(self) -> None:
        self.records: dict[bytes, bytes] = {}

    def save(self, records: Sequence[tuple[bytes, bytes | None]]) -> None:
        for key, value in records:
            if value is None:
                self.records.pop(key, None)
            else:
                self.records[key] = value

    def load(self) -> Iterable[tuple[bytes, bytes]]:
        return list(self.records.items())
