"""What a miner commits to, and how it proves what was drawn from it.

builder = CommitBuilder(chain_id, miner)
builder.work(item_id, program, ...)            as often as it works; or `add`, with a trace that is there
root, units = builder.root, builder.units      on the chain; then, once a later block gave the seed:
proof = builder.prove(seed, samples)
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter, itemgetter
from typing import Final

from pouw.backends.backend import Backend, BackendError
from pouw.hashing import HASH_BYTES
from pouw.program import Program, Weight
from pouw.proofs.binding import (
    MAX_ITEMS,
    SumNode,
    commit_root,
    item_context,
    join_sums,
)
from pouw.proofs.check_cells import Model
from pouw.proofs.openings import ItemPlan, Place, Stretch, name_places, plan_item, stretches
from pouw.proofs.packing import pack
from pouw.proofs.proof import MAX_NAME_BYTES, TAG_BYTES, OpenedItem, OpenedRows, Proof
from pouw.proofs.sampling import Cell, draw_cells, in_order
from pouw.proofs.sealing import SealedTrace, Sealer, leave_kept, seal
from pouw.tensors import Array
from pouw.trace import Trace, run_program, trace_bytes
from pouw.trees import merkle
from pouw.trees.rows import Rows, Tree
from pouw.weights import Weights

Recall = Callable[[], Trace]
"""Runs an item again, for the same bits."""

_Sealed = tuple[Trace, SealedTrace]
"""A run and its trees."""

HELD_BYTES: Final = 256 << 20
"""Traces that a builder keeps unless told otherwise; a commons unit of the digits model takes about 5 KB."""


LARGE_TRACE: Final = 1 << 20
"""Traces from here on are kept together with their trees, where there is room: about a tenth more."""


class CommitFull(ValueError):  # noqa: N818 - a state of the builder, not a fault
    """The builder holds as many traces as it may: commit, or give a `recall` with each."""


class CommitBuilder:
    """Collects a miner's traces into one commit.

    Args:
        chain_id: names the chain; at most 64 bytes.
        miner: names who does the work; at most 64 bytes.
        held_bytes: how much of traces to keep for proving, on the host or on the device that computed them.
            A trace that comes with a `recall` is never kept.
    """

    def __init__(self, chain_id: bytes, miner: bytes, *, held_bytes: int = HELD_BYTES) -> None:
        if max(len(chain_id), len(miner)) > MAX_NAME_BYTES:
            raise ValueError(
                f"chain id and miner of {len(chain_id)} and {len(miner)} bytes, at most {MAX_NAME_BYTES}"
            )
        self._chain_id = chain_id
        self._miner = miner
        self._free = held_bytes
        self._entries: list[_Entry] = []
        self._ids: set[bytes] = set()
        self._sealed: dict[int, SealedTrace] = {}

    def add(
        self,
        item_id: bytes,
        program: Program,
        trace: Trace,
        *,
        answered: bool = False,
        recall: Recall | None = None,
    ) -> None:
        """Commit to one more item, after those that were added before.

        Args:
            item_id: names the task or commons unit on its chain; 32 bytes, not added before.
            program: what was run.
            trace: all of its tensors.
            answered: whether the output was given to a customer, or the kept tensors to whoever trains on, so
                that the proof must open their roots.
            recall: makes the trace again, bit for bit; without it the trace is kept.

        Raises:
            CommitFull: if the trace would have to be kept and there is no room.
            ValueError: if the item was added before, or its id is not 32 bytes.
        """
        context = self._enter(item_id, program, trace_bytes(program) if recall is None else 0)

        sealed = seal(context, program, trace)
        again = self._hold(trace, sealed) if recall is None else _recalled(context, program, recall)
        self._append(item_id, sealed, again, answered=answered)

    def work(
        self,
        item_id: bytes,
        program: Program,
        weights: Weights,
        inputs: Array,
        backend: Backend,
        *,
        answered: bool = False,
        rerun: bool = False,
    ) -> Trace:
        """Run a program and commit to it, hashing what is computed while the rest is.

        Args:
            item_id: see `add`.
            program: see `pouw.trace.run_program`.
            weights: see `pouw.trace.run_program`.
            inputs: see `pouw.trace.run_program`.
            backend: see `pouw.trace.run_program`.
            answered: see `add`.
            rerun: whether to run it again when it is drawn rather than keep the trace.

        Raises:
            CommitFull: see `add`; nothing was run.
            ValueError: see `add`; nothing was run.
            ProgramError: see `pouw.trace.run_program`; nothing was added.
        """
        context = self._enter(item_id, program, 0 if rerun else trace_bytes(program))

        def run() -> _Sealed:
            sealer = Sealer(context, program, backend.rows)
            trace = run_program(program, weights, inputs, backend, take=sealer.take)
            sealed = sealer.finish()
            leave_kept(sealed, program, trace)
            return trace, sealed

        trace, sealed = run()
        self._append(item_id, sealed, run if rerun else self._hold(trace, sealed), answered=answered)
        return trace

    def _enter(self, item_id: bytes, program: Program, kept: int) -> bytes:
        """Whether there is room for an item of which so many bytes are kept; its context."""
        if len(item_id) != HASH_BYTES or item_id in self._ids:
            raise ValueError(f"item {item_id.hex()} is here already, or its id is not {HASH_BYTES} bytes")
        if len(self._entries) >= MAX_ITEMS:
            raise CommitFull(f"{MAX_ITEMS} items, no more fit one commit")
        if kept > self._free:
            raise CommitFull(f"a trace of {kept} bytes, room is left for {self._free}")
        return item_context(self._chain_id, self._miner, item_id=item_id, program=program)

    def _hold(self, trace: Trace, sealed: SealedTrace) -> Callable[[], _Sealed]:
        """Keep the trace of the item that is added next, and its trees as long as there is room."""
        index, context, program = len(self._entries), sealed.context, sealed.program
        size = trace_bytes(program)
        self._free -= size
        if size >= LARGE_TRACE:
            self._sealed[index] = sealed
        # The trees are made again in a few hundredths of the time of the run: they go before a trace has to.
        return lambda: (trace, self._sealed.get(index) or seal(context, program, trace))

    def _append(
        self, item_id: bytes, sealed: SealedTrace, again: Callable[[], _Sealed], *, answered: bool
    ) -> None:
        if sum(kept.size for kept in self._sealed.values()) > self._free:
            self._sealed.clear()
        self._ids.add(item_id)
        self._entries.append(_Entry(sealed.program, sealed.leaf, answered, again))

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def units(self) -> int:
        """Work units of all items."""
        return sum(entry.leaf.units for entry in self._entries)

    @property
    def root(self) -> bytes:
        """The commit, 32 bytes.

        Raises:
            ValueError: if nothing was added.
        """
        return self._root(self._sums())

    def prove(self, seed: bytes, samples: int) -> Proof:
        """Open what a seed draws.

        Args:
            seed: the chain's randomness after the commit; at most 64 bytes.
            samples: number of draws, as the chain's parameters say; each answered item has one besides.

        Raises:
            ValueError: if nothing was added.
            BackendError: if a recalled trace is not the one that was committed.
        """
        sums = self._sums()
        cells = self._draw(seed, root=self._root(sums), samples=samples)
        indices = sorted(cells)
        wanted: list[tuple[Weight, int]] = []
        homes: dict[bytes, Tree] = {}
        items = []
        for index in indices:
            entry = self._entries[index]
            trace, sealed = entry.again()
            known = trace.tensors[0].__getitem__
            plan = plan_item(entry.program, cells[index], answered=entry.answered, input_row=known)
            items.append(_open_item(index, entry, sealed, plan))
            for number, leaf in plan.weights:
                weight = entry.program.weights[number]
                wanted.append((weight, leaf))
                homes[weight.root] = trace.weights.tree(weight.name)
        beside = [sums[level][place] for level, place in merkle.siblings(len(self._entries), indices)]
        return Proof(
            chain_id=self._chain_id,
            miner=self._miner,
            seed=seed,
            units=self.units,
            items=tuple(items),
            sum_hashes=b"".join(node.hash for node in beside),
            sum_units=tuple(node.units for node in beside),
            weights=_open_model(Model(wanted), homes),
        )

    def _sums(self) -> list[list[SumNode]]:
        if not self._entries:
            raise ValueError("nothing was added to this commit")
        return merkle.levels([entry.leaf for entry in self._entries], join_sums)

    def _root(self, sums: list[list[SumNode]]) -> bytes:
        return commit_root(self._chain_id, self._miner, count=len(self._entries), top=sums[-1][0])

    def _draw(self, seed: bytes, *, root: bytes, samples: int) -> dict[int, list[Cell]]:
        """The drawn cells of each item that must be opened."""
        cells: dict[int, list[Cell]] = defaultdict(list)
        items = in_order(entry.program for entry in self._entries)
        claims = [index for index, entry in enumerate(self._entries) if entry.answered]
        for index, cell in draw_cells(
            items, seed=seed, root=root, units=self.units, samples=samples, claims=claims
        ):
            cells[index].append(cell)
        return cells


@dataclass(frozen=True, slots=True)
class _Entry:
    program: Program
    leaf: SumNode
    answered: bool
    again: Callable[[], _Sealed]


def _recalled(context: bytes, program: Program, recall: Recall) -> Callable[[], _Sealed]:
    def again() -> _Sealed:
        trace = recall()
        return trace, seal(context, program, trace)

    return again


def _open_item(index: int, entry: _Entry, sealed: SealedTrace, plan: ItemPlan) -> OpenedItem:
    if sealed.leaf != entry.leaf:
        raise BackendError(f"item {index} was run again and gave other bits than those that were committed")
    beside = merkle.siblings(len(sealed.trees), plan.roots)
    opened = stretches(plan.leaves)
    roots = [(sealed.trees[number].root, number in plan.bare) for number in plan.roots]
    return OpenedItem(
        index=index,
        roots=b"".join(root for root, bare in roots if bare),
        tags=b"".join(
            known[:TAG_BYTES] for known in (sealed.context, *(root for root, bare in roots if not bare))
        ),
        root_path=b"".join(sealed.levels[level][place] for level, place in beside),
        # Rows of the input are known to whoever checks.
        opened=_open_rows(
            opened,
            [stretch for stretch in opened if stretch.tensor],
            rows=sealed.rows,
            path=_path(sealed, plan.leaves),
        ),
    )


def _path(sealed: SealedTrace, leaves: Iterable[Place]) -> bytes:
    """Of all opened leaves, bundle by bundle."""
    bundles = sealed.program.bundles
    places: dict[int, list[int]] = {}
    for tensor, group in groupby(leaves, key=itemgetter(0)):
        found = bundles.of(tensor).places(tensor, (leaf for _, leaf in group))
        places.setdefault(bundles.home[tensor], []).extend(found)
    return b"".join(sealed.trees[number].path(sorted(places[number])) for number in sorted(places))


def _open_model(model: Model, homes: Mapping[bytes, Tree]) -> OpenedRows:
    trees = [homes[model.root(number)] for number in range(model.count)]
    path = b"".join(
        trees[tensor].nodes.path([leaf for stretch in group for leaf in stretch.leaves])
        for tensor, group in groupby(model.stretches, key=attrgetter("tensor"))
    )
    return _open_rows(model.stretches, model.stretches, rows=trees, path=path)


def _open_rows(
    opened: Sequence[Stretch], sent: Sequence[Stretch], *, rows: Sequence[Rows], path: bytes
) -> OpenedRows:
    """What opens all stretches, with the rows of those that are sent."""
    homes = [(stretch, rows[stretch.tensor]) for stretch in sent]
    data = [tree.read(stretch.bytes_of(tree.spec)) for stretch, tree in homes]
    widths, packed = pack([stretch.run_of(tree.spec) for stretch, tree in homes], data)
    return OpenedRows(name_places(opened), widths, packed, path)
