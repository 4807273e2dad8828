"""Where an epoch's instance starts, as the final chain tells it."""

from consensus.ledger import Ledger
from consensus.simplex.instance import Setting
from consensus.simplex.timers import Pace


def open_epoch(ledger: Ledger, me: bytes | None) -> Setting:
    """The setting of the epoch of the next height; ``me`` is our consensus key, if we have one."""
    params, head = ledger.params, ledger.final_head
    epoch = params.epoch_of(head.height + 1)
    before = ledger.final_header(params.last_height(epoch) - params.epoch_length)
    assert before is not None, f"the last header before epoch {epoch} is not in the ledger"
    has_begun = head.height > before.height
    return Setting(
        epoch=epoch,
        committee=ledger.committee(epoch),
        beacon=before.beacon,
        last_height=params.last_height(epoch),
        pace=Pace(params.network_delay_ms, params.block_interval_ms),
        me=me,
        base=head,
        base_digest=head.digest,
        base_certificate=ledger.finalization(head.height) if has_begun else None,
    )
