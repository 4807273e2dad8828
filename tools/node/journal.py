"""The corner of the node's database where consensus keeps what must survive a power cut."""

from collections.abc import Iterable, Sequence

from chain.store import BlockStore


class StoreJournal:
    """Implements `consensus.safe_store.Journal`."""

    def __init__(self, store: BlockStore) -> None:
        self._store = store

    def save(self, records: Sequence[tuple[bytes, bytes | None]]) -> None:
        """Write all of ``records`` or none, durable when it returns."""
        self._store.save_journal(records)

    def load(self) -> Iterable[tuple[bytes, bytes]]:
        """Everything saved and not deleted, ascending by key."""
        return self._store.load_journal()
