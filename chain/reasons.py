"""Why: one code for every outcome that the ledger records or a node refuses with.

Numbers are part of the protocol (they are in receipts) and are never used again for something else.
`Reason.explanation` is the sentence that people read.

```
  0 ..   99   done
100 ..  199   a transaction refused
200 ..  299   miners
300 ..  399   tasks
400 ..  499   commits and proofs
500 ..  599   seats
600 ..  699   evidence
700 ..  799   the commons model
1000 .. 1099  a proof that does not hold, by what was wrong with it
```
"""

import enum


class Reason(enum.IntEnum):
    """An outcome, good or bad."""

    explanation: str

    def __new__(cls, code: int, explanation: str = "") -> "Reason":
        """Keep the sentence beside the number."""
        member = int.__new__(cls, code)
        member._value_ = code
        member.explanation = explanation
        return member

    OK = 0, "The transaction did what it asked for."
    TRANSFERRED = 1, "Coins moved to another account."
    FEE_BURNED = 2, "The base fees of the block were destroyed."
    TIP_PAID = 3, "The tips of the block went to its proposer."

    MALFORMED = 100, "The bytes are not the canonical form of a transaction."
    WRONG_CHAIN = 101, "The transaction was signed for another chain."
    BAD_SIGNATURE = 102, "The signature is not the sender's."
    NONCE_TOO_LOW = 103, "A transaction with this nonce has already been executed."
    NONCE_TOO_HIGH = 104, "Transactions of this sender are missing before this one."
    FEE_TOO_LOW = 105, "The base fee in force is higher than the sender accepts."
    INSUFFICIENT_FUNDS = 106, "The sender's balance does not cover amount and fee."
    TOO_LARGE = 107, "The transaction is longer than the chain allows."
    MEMPOOL_FULL = 109, "The mempool is full and this transaction pays less than those in it."
    REPLACEMENT_UNDERPRICED = 110, "A waiting transaction with this nonce pays as much or nearly as much."
    SENDER_QUEUE_FULL = 111, "Too many transactions of this sender are waiting."
    ALREADY_KNOWN = 112, "The very same transaction is already waiting."
    REPLACED = 113, "The sender replaced the transaction by one that pays more."

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
    MINER_SUSPENDED = (
        211,
        "The bond fell below the least; the miner works again once it registers with the difference.",
    )

    MINER_EQUIVOCATED = (
        212,
        "The miner's consensus key contradicted itself: the bond is burned, its weight is gone.",
    )
    CONSENSUS_KEY_CONVICTED = 213, "The consensus key contradicted itself once and never counts again."

    TASK_SUBMITTED = 300, "The task and its payment are on the ledger and wait for a miner."
    TASK_ASSIGNED = 301, "The beacon drew a miner for the task."
    TASK_COMMITTED = 302, "The miner has committed to an answer; its proof is due."
    TASK_ANSWERED = 303, "The answer is proven."
    TASK_PAID = 304, "The payment went to the miner whose answer was proven."
    TASK_DEADLINE_MISSED = 305, "The miner did not commit in time."
    TASK_REASSIGNED = 306, "The task was taken from its miner and waits for another."
    TASK_REFUNDED = 307, "Nobody answered in all attempts or all the time there was; the payment went back."
    TASK_BAD_INPUT = 308, "The inputs do not have the model's shape or range."
    TASK_PAYMENT_TOO_LOW = 309, "The payment is below the price of the task's units."
    TASK_NO_MINER = 310, "No registered miner serves the model now; the task waits."
    TASK_FORGOTTEN = (
        311,
        "The finished task was kept as long as the chain keeps them; its answer is in the blocks.",
    )
    TASK_PAYMENT_TOO_HIGH = (
        312,
        "The payment is more than the least bond can answer for: to fake the answer could pay.",
    )

    WORK_COMMITTED = 400, "The work's root is on the ledger; a later beacon draws its cells."
    TOO_MANY_OPEN_COMMITS = 401, "Too many commits of this miner await their proof."
    COMMONS_RANGE_USED = 402, "The shards do not start where the miner's last range ended."
    TOO_MANY_COMMONS_UNITS = 404, "A commit may not cover so many shards."
    EMPTY_COMMIT = 405, "The commit covers neither a task nor a shard."
    TASK_NOT_ASSIGNED = 406, "The task is not assigned to this miner, or not any more."
    ANSWER_WRONG_SHAPE = 407, "The answer does not have the shape of the program's last output."
    TASKS_NOT_ASCENDING = 408, "The commit's tasks are not strictly ascending."
    UNITS_OVERCLAIMED = 409, "The commit claims other units than its tasks and shards cost."
    COMMIT_UNKNOWN = 410, "The sender has no open commit of this id."
    PROOF_TOO_EARLY = 411, "The beacon that draws the commit's cells does not exist yet."
    PROOF_MISSING = 412, "No proof came in time; the work earns nothing and part of the bond burns."
    WORK_PROVEN = 413, "Every drawn cell was recomputed and is right."
    WORK_CREDITED = 414, "The proven units count for the miner's consensus key."
    WORK_REWARDED = 415, "The proven units were paid with new coins."
    COMMIT_VOID = 416, "The miner was slashed; its open commits are void."
    NOT_COMMONS = 417, "Commons fields must be zero in a commit without shards."
    COMMIT_TOO_LARGE = 418, "The commit costs more units than one proof can be about."
    COMMONS_WRONG_ROUND = 419, "The commons model is used as it is in this round or the one before."
    VOTE_MALFORMED = 420, "The vote is not one on this model's numbers."
    STAKE_NOT_COVERED = 421, "The bond does not cover what this commit and the open ones put at stake."

    SEATS_APPORTIONED = 500, "The key holds this many seats in the next committee."
    COMMITTEE_KEPT = 501, "No work was proven in the window; the committee stays."
    COMMITTEE_FROM_GENESIS = 502, "The genesis committee still sits."
    SEATS_FORFEITED = 503, "The key lost its standing after it was weighed; these seats stay empty."

    KEY_CONVICTED = (
        600,
        "The key signed two statements of one view that exclude each other and never gets a seat again.",
    )
    ALREADY_CONVICTED = 601, "The key was convicted before; one conviction is all there is."
    EVIDENCE_WRONG_EPOCH = 602, "The evidence is of an epoch that has not begun, or is too old to count."
    EVIDENCE_NO_SEATS = 603, "The accused held no seat in the epoch of the evidence."
    EVIDENCE_UNSIGNED = 604, "The accused did not sign both statements."
    REPORT_NOT_PLAIN = 605, "A report has no sender, nonce, fee or signature of its own."

    MODEL_TRAINED = 700, "Proven votes moved the commons model by one step."
    VOTE_COUNTED = 701, "The vote is proven and moves the commons model at the end of the round."
    VOTE_TOO_OLD = 702, "The vote was proven too late to move the model; the work is paid all the same."

    PROOF_MALFORMED = 1001, "The proof's bytes are not a proof."
    PROOF_OVERSIZE = 1002, "The proof is longer, or holds larger numbers, than a proof may."
    PROOF_WRONG_CHAIN = 1003, "The proof was made for another chain."
    PROOF_WRONG_MINER = 1004, "The proof was made by another miner."
    PROOF_WRONG_SEED = 1005, "The proof answers another draw: it is an old one."
    PROOF_EMPTY_COMMIT = 1006, "The commit holds no item, or more than a commit may."
    PROOF_UNITS_MISMATCH = 1007, "The proof is for other units than the commit claims."
    PROOF_ITEM_ORDER = 1008, "Opened items are not ascending, or one is beyond the commit's last."
    PROOF_DUPLICATE_ITEM = 1009, "Two opened items are the same task."
    PROOF_BAD_SUM = (
        1010,
        "A node of the sum tree carries less than its items must, or more than 64 bits hold.",
    )
    PROOF_INFLATED_SUMS = (
        1011,
        "The opened items and the sums beside them do not add up to the commit's totals.",
    )
    PROOF_PATH_LENGTH = 1012, "A path has too few or too many nodes for the tree it climbs."
    PROOF_CELL_NOT_OPENED = 1013, "No opened item holds a position that was drawn."
    PROOF_CELL_NOT_DRAWN = 1014, "An item is opened that no draw hits and no answer asks for."
    PROOF_WRONG_POSITION = 1015, "Rows of other places are opened than the drawn cells need."
    PROOF_ROW_SIZE = 1016, "An opened row is longer or shorter than its tensor's shape says."
    PROOF_COMMIT_MISMATCH = (
        1017,
        "The opened items do not lead to the commit: it holds other work than it claims.",
    )
    PROOF_ROW_NOT_COMMITTED = 1018, "An opened row of the trace does not lead to its tensor's root."
    PROOF_WEIGHT_NOT_IN_MODEL = 1019, "An opened weight row does not lead to the model's root."
    PROOF_INPUT_MISMATCH = 1020, "The committed input is not the one that the task or the commons prescribes."
    PROOF_ANSWER_MISMATCH = 1021, "The answer given to the customer is not the output of the committed run."
    PROOF_ANSWER_SHAPE = 1022, "The answer does not have the shape of the program's output."
    PROOF_WRONG_CELL = 1023, "A committed value is not what its op makes of the committed rows it depends on."
