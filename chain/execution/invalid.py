"""Two ways to fail: a block that nobody may build on, and a transaction that pays its fee for nothing."""

import enum

from chain.reasons import Reason


class BlockReason(enum.Enum):
    """Why a block is not one of this chain. Its proposer is at fault."""

    WRONG_VERSION = "wrong_version"
    WRONG_CHAIN = "wrong_chain"
    WRONG_HEIGHT = "wrong_height"
    WRONG_PARENT = "wrong_parent"
    WRONG_EPOCH = "wrong_epoch"
    TIMESTAMP_TOO_EARLY = "timestamp_too_early"
    NOT_A_MEMBER = "not_a_member"
    BAD_VRF_PROOF = "bad_vrf_proof"
    WRONG_BEACON = "wrong_beacon"
    WRONG_BASE_FEE = "wrong_base_fee"
    TOO_MANY_BYTES = "too_many_bytes"
    TOO_MUCH_WEIGHT = "too_much_weight"
    TOO_MANY_TRANSACTIONS = "too_many_transactions"
    BAD_TRANSACTION = "bad_transaction"
    """A transaction that may not be in a block at all; `InvalidBlock.cause` says why."""
    WRONG_TRANSACTIONS_ROOT = "wrong_transactions_root"
    WRONG_RECEIPTS_ROOT = "wrong_receipts_root"
    WRONG_STATE_ROOT = "wrong_state_root"
    WRONG_COMMITTEE_ROOT = "wrong_committee_root"


class InvalidBlock(Exception):  # noqa: N818 - the field's word
    """A block that breaks a rule.

    Args:
        reason: The rule.
        message: A sentence with both values.
        cause: For `BAD_TRANSACTION`, what is wrong with the transaction.
    """

    def __init__(self, reason: BlockReason, message: str, *, cause: Reason | None = None) -> None:
        super().__init__(f"{reason.value}: {message}")
        self.reason = reason
        self.message = message
        self.cause = cause


class NotIncludable(Exception):  # noqa: N818 - a state, not an error
    """A transaction that cannot be in the next block: nobody could be made to pay for it."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(f"{reason.name}: {message}")
        self.reason = reason
        self.message = message


class Refused(Exception):  # noqa: N818 - a state, not an error
    """A transaction whose body asks for what it cannot have. Raised before anything was written."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(f"{reason.name}: {message}")
        self.reason = reason
        self.message = message
