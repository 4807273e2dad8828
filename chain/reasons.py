"""Why: one code for every outcome that the ledger records or a node refuses with.

Numbers are part of the protocol (they are in receipts) and are never used again for something else.
`Reason.explain` gives the sentence that people read.
"""

import enum


class Reason(enum.IntEnum):
    """An outcome; 0 to 99 good, 100 to 199 a transaction refused, 200 on the ledger's own doings."""

    explanation: str

    def __new__(cls, code: int, explanation: str = "") -> "Reason":
        """Keep the sentence beside the number."""
        member = int.__new__(cls, code)
        member._value_ = code
        member.explanation = explanation
        return member

    OK = 0, "The transaction did what it asked for."
    TRANSFERRED = 1, "Coins moved to another account."
    FEE_BURNED = 2, "The base fee was destroyed."
    TIP_PAID = 3, "The tip went to the block's proposer."

    MALFORMED = 100, "The bytes are not the canonical form of a transaction."
    WRONG_CHAIN = 101, "The transaction was signed for another chain."
    BAD_SIGNATURE = 102, "The signature is not the sender's."
    NONCE_TOO_LOW = 103, "A transaction with this nonce has already been executed."
    NONCE_TOO_HIGH = 104, "Transactions of this sender are missing before this one."
    FEE_TOO_LOW = 105, "The base fee in force is higher than the sender accepts."
    INSUFFICIENT_FUNDS = 106, "The sender's balance does not cover amount and fee."
    TOO_LARGE = 107, "The transaction is longer than the chain allows."
    BALANCE_OVERFLOW = 108, "The receiver's balance would pass 2**64."
    MEMPOOL_FULL = 109, "The mempool is full and this transaction pays less than those in it."
    REPLACEMENT_UNDERPRICED = 110, "A waiting transaction with this nonce pays as much or nearly as much."
    SENDER_QUEUE_FULL = 111, "Too many transactions of this sender are waiting."
    ALREADY_KNOWN = 112, "The very same transaction is already waiting."

    MINER_REGISTERED = 200, "The miner's bond is locked and its work counts for its consensus key."
    ALREADY_REGISTERED = 201, "The sender is a registered miner already."
    CONSENSUS_KEY_TAKEN = 202, "Another miner is registered to this consensus key."
    BAD_POSSESSION = 203, "The consensus key did not sign that it belongs to this miner."
    BOND_TOO_LOW = 204, "The bond is lower than the chain asks for."
    UNKNOWN_MODEL = 205, "The chain has no model of this id."
    NOT_A_MINER = 206, "The sender is not a registered miner."
    UNBONDING_STARTED = 207, "The miner left; its bond comes back after the unbonding time."
    BOND_RETURNED = 208, "The unbonding time is over and the bond is back."
    MINER_SLASHED = 209, "The miner's work was proven wrong: the bond is burned, its weight is gone."
    BAD_MODEL_LIST = 210, "Models must be strictly ascending."

    TASK_SUBMITTED = 300, "The task and its payment are on the ledger and wait for a miner."
    TASK_ASSIGNED = 301, "The beacon drew a miner for the task."
    TASK_COMMITTED = 302, "The miner has committed to an answer; its proof is due."
    TASK_ANSWERED = 303, "The answer is proven."
    TASK_PAID = 304, "The payment went to the miner whose answer was proven."
    TASK_DEADLINE_MISSED = 305, "The miner did not commit in time; the task goes to another."
    TASK_REASSIGNED = 306, "The task waits for a new miner because its commit failed."
    TASK_REFUNDED = 307, "No miner answered after all attempts; the payment went back."
    TASK_BAD_INPUT = 308, "The inputs do not have the model's shape or range."
    TASK_PAYMENT_TOO_LOW = 309, "The payment is below the price of the task's units."
    TASK_NO_MINER = 310, "No registered miner serves the model now; the task waits."

    WORK_COMMITTED = 400, "The work's root is on the ledger; a later beacon draws its cells."
    TOO_MANY_OPEN_COMMITS = 401, "Too many commits of this miner await their proof."
    COMMONS_RANGE_USED = 402, "The commons units do not start where the miner's last range ended."
    COMMONS_WRONG_EPOCH = 403, "Commons units derive from the seed of this epoch or the one before."
    TOO_MANY_COMMONS_UNITS = 404, "A commit may not cover so many commons units."
    EMPTY_COMMIT = 405, "The commit covers neither a task nor a commons unit."
    TASK_NOT_ASSIGNED = 406, "The task is not assigned to this miner, or not any more."
    ANSWER_WRONG_SHAPE = 407, "The answer does not have the shape of the program's last output."
    TASKS_NOT_ASCENDING = 408, "The commit's tasks are not strictly ascending."
    UNITS_OVERCLAIMED = 409, "The commit claims other units than its tasks and commons units cost."
    COMMIT_UNKNOWN = 410, "The sender has no open commit of this id."
    PROOF_TOO_EARLY = 411, "The beacon that draws the commit's cells does not exist yet."
    PROOF_MISSING = 412, "No proof came in time; the work earns nothing and part of the bond burns."
    WORK_PROVEN = 413, "Every drawn cell was recomputed and is right."
    WORK_CREDITED = 414, "The proven units count for the miner's consensus key."
    WORK_REWARDED = 415, "The proven units were paid with new coins."
    COMMIT_VOID = 416, "The miner left or was slashed; its open commits are void."

    SEATS_APPORTIONED = 500, "The key holds this many seats in the next committee."
    COMMITTEE_KEPT = 501, "No work was proven in the window; the committee stays."
    COMMITTEE_FROM_GENESIS = 502, "The genesis committee still sits."
