"""The authenticated state: an immutable map from keys to values with one root hash.

Entries hang at the hash of their key in a 16-ary tree. A subtree of up to 16 entries is one bucket, a larger
one is a branch: the shape follows from the contents alone, so the same contents have the same root in
whatever order they came. Depth grows where entries are: nobody can swell the proof of somebody else's key by
grinding keys into its bucket, which in a tree of fixed depth costs 65,536 hashes a key. Here every further
level costs sixteen times the level before and adds 480 bytes.

`updated` shares every untouched node with the tree it came from, and the old tree stays valid. Forks are
therefore cheap, and executing a block changes nothing.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from chain.state.key_index import KeyIndex
from chain.state.node import (
    BUCKET_CAPACITY,
    EMPTY_BUCKET,
    FANOUT,
    HASH_BYTES,
    RECORD_BYTES,
    Branch,
    Bucket,
    Node,
    branch_digest,
    bucket_digest,
    nibble,
    path_of,
    root_digest,
    value_digest,
)
from chain.state.proof import MAX_KEY_BYTES, MAX_VALUE_BYTES, StateProof

_Change = tuple[bytes, bytes, bytes | None]
"""Path, key and new value, or None to delete."""


@dataclass(frozen=True, slots=True, eq=False)
class StateTree:
    """One version of the state, equal to any other with the same root. Start from `StateTree.empty()`."""

    _top: Node
    _index: KeyIndex
    root: bytes
    """The 32-byte state root."""

    @classmethod
    def empty(cls) -> Self:
        """Return the state without entries."""
        return cls(EMPTY_BUCKET, KeyIndex(), root_digest(EMPTY_BUCKET.digest))

    def __eq__(self, other: object) -> bool:
        return self.root == other.root if isinstance(other, StateTree) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.root)

    def __repr__(self) -> str:
        return f"StateTree(root={self.root.hex()}, {len(self)} entries)"

    def __len__(self) -> int:
        return self._top.size

    def get(self, key: bytes) -> bytes | None:
        """Return the value under a key, or None."""
        node = self._top
        if isinstance(node, Branch):
            path = path_of(key)
            level = 0
            while isinstance(node, Branch):
                node = node.children[nibble(path, level)]
                level += 1
        keys = node.keys
        return node.values[keys.index(key)] if key in keys else None

    def keys(self, prefix: bytes, *, start: bytes | None = None) -> Iterator[bytes]:
        """Yield the keys with a prefix as `items` does, without looking up their values: six times faster."""
        return self._index.walk(prefix, start)

    def items(self, prefix: bytes, *, start: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        """Yield the entries whose keys begin with a prefix, ascending by key.

        The cost follows the number of entries yielded, not the size of the state.

        Args:
            prefix: What the keys begin with; empty for all entries.
            start: The least key to yield.
        """
        for key in self.keys(prefix, start=start):
            value = self.get(key)
            assert value is not None, "the index holds a key that the tree lacks"
            yield key, value

    def updated(self, changes: Mapping[bytes, bytes | None]) -> Self:
        """Return the state with some entries written and others (None) deleted.

        Deleting what is not there changes nothing.

        Raises:
            ValueError: A key is not 1 to 255 bytes long, or a value longer than `MAX_VALUE_BYTES`.
        """
        ordered: list[_Change] = []
        for key, value in changes.items():
            if not 0 < len(key) <= MAX_KEY_BYTES:
                raise ValueError(f"a state key has 1 to {MAX_KEY_BYTES} bytes, got {len(key)}")
            if value is not None and len(value) > MAX_VALUE_BYTES:
                raise ValueError(f"a state value has at most {MAX_VALUE_BYTES} bytes, got {len(value)}")
            ordered.append((path_of(key), key, value))
        ordered.sort()
        edit = _Edit([], [])
        top = _applied(self._top, ordered, 0, edit)
        if top is self._top:
            return self
        return type(self)(top, self._index.edited(edit.added, edit.removed), root_digest(top.digest))

    def subtree(self, place: bytes) -> Node:
        """The node at a place, given as nibbles from the root, one a byte.

        Where the tree is not that deep it is the bucket of those entries that would hang there: the shape
        follows from the contents alone, so its digest is the one a deeper tree would have there.
        """
        node = self._top
        for level, way in enumerate(place):
            if isinstance(node, Bucket):
                return _below(node, place, level)
            node = node.children[way]
        return node

    def prove(self, key: bytes) -> StateProof:
        """Prove what the state holds under a key, or that it holds nothing."""
        path = path_of(key)
        siblings: list[bytes] = []
        node = self._top
        while isinstance(node, Branch):
            way = nibble(path, len(siblings))
            offset = way * HASH_BYTES
            siblings.append(node.digests[:offset] + node.digests[offset + HASH_BYTES :])
            node = node.children[way]
        return StateProof(siblings=tuple(siblings), records=node.records, value=self.get(key))


def node_of(entries: Mapping[bytes, bytes], *, level: int) -> Node:
    """The subtree of entries whose paths agree in their first `level` nibbles."""
    ordered: list[_Change] = sorted((path_of(key), key, value) for key, value in entries.items())
    return _applied(EMPTY_BUCKET, ordered, level, _Edit([], []))


@dataclass(frozen=True, slots=True)
class _Edit:
    """The keys that a batch put in and took out."""

    added: list[bytes]
    removed: list[bytes]


def _applied(node: Node, changes: Sequence[_Change], level: int, edit: _Edit) -> Node:
    """Apply changes, ascending by path, to a subtree; the same object comes back where nothing changed."""
    if isinstance(node, Bucket):
        if len(changes) <= BUCKET_CAPACITY:
            bucket = _spliced(node, changes, edit)
            return bucket if bucket.size <= BUCKET_CAPACITY else _split(bucket, level)
        # Too many to splice one by one: work on the split form, which is joined again below if few remain.
        # Safety: terminates, because more than 16 distinct paths part ways at some nibble.
        branch = _split(node, level)
    else:
        branch = node
    replaced: list[tuple[int, Node]] = []
    for way, part in _by_way(changes, level):
        old = branch.children[way]
        new = _applied(old, part, level + 1, edit)
        if new is not old:
            replaced.append((way, new))
    if not replaced:
        return node
    branch = _with_children(branch, replaced)
    return branch if branch.size > BUCKET_CAPACITY else _joined(branch)


def _below(bucket: Bucket, place: bytes, level: int) -> Bucket:
    """The entries of a bucket whose paths go on as a place does from a level on."""
    kept = [
        at
        for at in range(len(bucket.keys))
        if all(nibble(_path(bucket.records, at), deep) == place[deep] for deep in range(level, len(place)))
    ]
    if not kept:
        return EMPTY_BUCKET
    records = b"".join([bucket.records[at * RECORD_BYTES : (at + 1) * RECORD_BYTES] for at in kept])
    keys = tuple([bucket.keys[at] for at in kept])
    return Bucket(bucket_digest(records), len(keys), records, keys, tuple([bucket.values[at] for at in kept]))


def _by_way(changes: Sequence[_Change], level: int) -> list[tuple[int, Sequence[_Change]]]:
    """Cut changes, ascending by path, into runs that go the same way at a level."""
    if len(changes) == 1:
        return [(nibble(changes[0][0], level), changes)]
    byte, shift = level >> 1, 0 if level & 1 else 4
    ways = [change[0][byte] >> shift & 15 for change in changes]
    runs: list[tuple[int, Sequence[_Change]]] = []
    low = 0
    while low < len(ways):
        way = ways[low]
        high = bisect_right(ways, way, low)
        runs.append((way, changes[low:high]))
        low = high
    return runs


def _spliced(bucket: Bucket, changes: Sequence[_Change], edit: _Edit) -> Bucket:
    """Apply a few changes to a bucket, which may leave it over its capacity."""
    records, keys, values = bucket.records, bucket.keys, bucket.values
    for path, key, value in changes:
        if key in keys:
            at = keys.index(key)
            offset = at * RECORD_BYTES
            if value is None:
                records = records[:offset] + records[offset + RECORD_BYTES :]
                keys = keys[:at] + keys[at + 1 :]
                values = values[:at] + values[at + 1 :]
                edit.removed.append(key)
            elif value != values[at]:
                records = (
                    records[: offset + HASH_BYTES] + value_digest(value) + records[offset + RECORD_BYTES :]
                )
                values = (*values[:at], value, *values[at + 1 :])
        elif value is not None:
            at = bisect_left(range(len(keys)), path, key=lambda i: _path(records, i))
            offset = at * RECORD_BYTES
            records = records[:offset] + path + value_digest(value) + records[offset:]
            keys = (*keys[:at], key, *keys[at:])
            values = (*values[:at], value, *values[at:])
            edit.added.append(key)
    if records == bucket.records:
        return bucket
    return Bucket(bucket_digest(records), len(keys), records, keys, values)


def _path(records: bytes, at: int) -> bytes:
    """The path of one entry of a bucket."""
    return records[at * RECORD_BYTES : at * RECORD_BYTES + HASH_BYTES]


def _split(bucket: Bucket, level: int) -> Branch:
    """Spread a bucket over the sixteen children of a branch."""
    records, keys, values = bucket.records, bucket.keys, bucket.values
    children: list[Node] = [EMPTY_BUCKET] * FANOUT
    low = 0
    while low < len(keys):
        way = nibble(_path(records, low), level)
        high = low + 1
        while high < len(keys) and nibble(_path(records, high), level) == way:
            high += 1
        part = records[low * RECORD_BYTES : high * RECORD_BYTES]
        child = Bucket(bucket_digest(part), high - low, part, keys[low:high], values[low:high])
        children[way] = child if high - low <= BUCKET_CAPACITY else _split(child, level + 1)
        low = high
    digests = b"".join([child.digest for child in children])
    return Branch(branch_digest(digests), len(keys), digests, tuple(children))


def _joined(branch: Branch) -> Bucket:
    """Gather the few entries under a branch into one bucket."""
    buckets = [child if isinstance(child, Bucket) else _joined(child) for child in branch.children]
    records = b"".join([bucket.records for bucket in buckets])
    keys = tuple([key for bucket in buckets for key in bucket.keys])
    values = tuple([value for bucket in buckets for value in bucket.values])
    return Bucket(bucket_digest(records), len(keys), records, keys, values) if keys else EMPTY_BUCKET


def _with_children(branch: Branch, replaced: Sequence[tuple[int, Node]]) -> Branch:
    """Put new children in place of some."""
    digests, size, children = branch.digests, branch.size, branch.children
    if len(replaced) == 1:  # the most common case in a large tree, and 1.5 times as fast as the general one
        [(way, node)] = replaced
        offset = way * HASH_BYTES
        digests = digests[:offset] + node.digest + digests[offset + HASH_BYTES :]
        size += node.size - children[way].size
        children = (*children[:way], node, *children[way + 1 :])
        return Branch(branch_digest(digests), size, digests, children)
    nodes = list(children)
    for way, node in replaced:
        size += node.size - nodes[way].size
        nodes[way] = node
    digests = b"".join([node.digest for node in nodes])
    return Branch(branch_digest(digests), size, digests, tuple(nodes))
