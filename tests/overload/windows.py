"""What a peer offers: of each account the transfers next in line, as many at a time as a mempool takes.

A node does not say what became of a frame: it may have found a queue full. So what counts as taken is what
blocks hold, and everything else is offered again. A peer that forgot what was dropped would leave a gap in
each account's nonces, and nothing behind a gap can be in a block.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from chain.crypto.ed25519 import SecretKey
from chain.types.transaction import SignedTransaction, Transaction, Transfer, sign_transaction

OLD: Final = 4096
"""Landed transfers kept to be offered once more."""

MAX_BASE_FEE: Final = 1000


@dataclass(slots=True)
class _Account:
    key: SecretKey
    landed: int
    """First nonce that no block holds."""
    cursor: int
    """Nonce to offer next."""
    moved_at: float = 0.0
    """When one of its transfers landed last, or the first of those that wait was offered."""
    signed: dict[int, SignedTransaction] = field(default_factory=dict)
    """Those from `landed` on that were offered, so that offering one again costs no signature."""


class Windows:
    """The next transfers of some accounts."""

    def __init__(
        self, keys: Sequence[SecretKey], nonces: Sequence[int], *, chain_id: str, width: int
    ) -> None:
        """Begin.

        Args:
            keys: Of the accounts.
            nonces: The next of each, in the last final state.
            chain_id: For the signatures.
            width: Transfers of one account on their way at most.
        """
        pairs = zip(keys, nonces, strict=True)
        self._accounts = [_Account(key, landed=nonce, cursor=nonce) for key, nonce in pairs]
        self._by_sender = {account.key.public_key: account for account in self._accounts}
        self._chain_id = chain_id
        self._old: deque[SignedTransaction] = deque(maxlen=OLD)
        self._turn = 0
        self.width = width

    @property
    def waiting(self) -> int:
        """Transfers offered that no block holds."""
        return sum(len(account.signed) for account in self._accounts)

    def landed(self, transactions: Iterable[SignedTransaction], now: float) -> int:
        """Note what a block holds; how many of its transactions are these accounts' own."""
        count = 0
        for signed in transactions:
            account = self._by_sender.get(signed.transaction.sender)
            if account is None:
                continue
            count += 1
            account.signed.pop(signed.transaction.nonce, None)
            account.landed = max(account.landed, signed.transaction.nonce + 1)
            account.cursor = max(account.cursor, account.landed)
            account.moved_at = now
            self._old.append(signed)
        return count

    def fresh(self, count: int, now: float) -> list[SignedTransaction]:
        """Up to so many transfers that are next in line, one an account in turn."""
        chosen: list[SignedTransaction] = []
        idle = 0
        while len(chosen) < count and idle < len(self._accounts):
            account = self._accounts[self._turn]
            self._turn = (self._turn + 1) % len(self._accounts)
            if account.cursor >= account.landed + self.width:
                idle += 1
                continue
            idle = 0
            if account.cursor == account.landed:
                account.moved_at = now
            chosen.append(self._transfer(account))
        return chosen

    def old(self, count: int) -> list[SignedTransaction]:
        """Up to so many transfers that blocks hold already, each in turn."""
        count = min(count, len(self._old))
        self._old.rotate(count)
        return [self._old[index] for index in range(count)]

    def again(self, now: float, *, patience: float) -> None:
        """Let what did not land be offered again, of each account that did not move for so many seconds."""
        for account in self._accounts:
            if account.cursor > account.landed and now - account.moved_at >= patience:
                account.cursor, account.moved_at = account.landed, now

    def _transfer(self, account: _Account) -> SignedTransaction:
        nonce = account.cursor
        account.cursor += 1
        if nonce not in account.signed:
            sender = account.key.public_key
            body = Transfer(self._accounts[0].key.public_key, 1)
            unsigned = Transaction(self._chain_id, sender, nonce, MAX_BASE_FEE, 0, body)
            account.signed[nonce] = sign_transaction(unsigned, account.key)
        return account.signed[nonce]
