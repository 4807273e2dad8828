"""Every key of the state: one namespace byte, then parts of fixed width.

```
01 account               Account       balance and nonce
02 account               Miner         bond, consensus key, status, models
03 consensus key         account       the miner that the key is tied to
04 height miner          -             bonds that come back in that block's opening
05 round miner           u64           next shard of the miner in that round
06 model miner           -             active miners that serve the model

10 task                  Task          everything about a task but its bytes
11 task                  bytes         its inputs, until it is finished
12 task                  bytes         its answer, from the commit on
13 model height task     -             tasks that wait for a miner, oldest first
14 height task           -             tasks that the opening of that block looks at
15 miner task            -             tasks assigned to a miner and not committed yet

20 commit                Commit        commits that await their proof
21 height commit         -             commits whose proof is missing in that block's opening
22 miner commit          -             the same commits by miner

30 height                hash          recent beacons, as long as a proof may need them
32 consensus key         Weight        proven units by epoch
33 epoch                 Committee     of this epoch, those whose evidence still counts, and from an epoch's
                                       last block on the next
34 consensus key         Conviction    of contradicting itself; for ever
35 consensus key         Candidate     what the next committee is drawn from: from the weighing to the epoch's
                                       last block

40                       Supply        coins at genesis, minted and burned
41                       Head          height, beacon, and the base fee of the next block

50                       bytes         the commons model: what its weights add up to, int32
51                       bytes         where votes on it pointed of late, int16
52                       Progress      how good it was after its first and its latest steps
53 round                 Round         seed and checkpoint, as long as a proof may need them
54 step                  bytes         the numbers of a checkpoint that such a round names
55 commit                ProvenVote    votes that the running round's last block counts
```

Heights, epochs, rounds and steps are 8 bytes, big-endian: keys sort as numbers do. A dash stands for an empty
value: the key itself is the entry of an index.
"""

from typing import Final

SUPPLY: Final = b"\x40"
HEAD: Final = b"\x41"
MASTERS: Final = b"\x50"
LEANINGS: Final = b"\x51"
PROGRESS: Final = b"\x52"


def account(key: bytes) -> bytes:
    """Account of a public key."""
    return b"\x01" + key


def miner(key: bytes) -> bytes:
    """Miner record of an account."""
    return b"\x02" + key


def miner_of(consensus_key: bytes) -> bytes:
    """Account that a consensus key is tied to."""
    return b"\x03" + consensus_key


def unbonding(height: int, key: bytes = b"") -> bytes:
    """A bond that comes back at ``height``; without a miner, the prefix of that height."""
    return b"\x04" + number(height) + key


def commons_cursor(round_number: int, key: bytes = b"") -> bytes:
    """A miner's next shard; without a miner, the prefix of the round."""
    return b"\x05" + number(round_number) + key


def server(model: bytes, key: bytes = b"") -> bytes:
    """An active miner that serves the model; without a miner, the prefix of the model."""
    return b"\x06" + model + key


def task(key: bytes) -> bytes:
    """Task record."""
    return b"\x10" + key


def task_inputs(key: bytes) -> bytes:
    """Inputs of a task."""
    return b"\x11" + key


def task_answer(key: bytes) -> bytes:
    """Answer to a task."""
    return b"\x12" + key


def waiting(model: bytes, height: int | None = None, key: bytes = b"") -> bytes:
    """A task that waits since ``height``; without one, the prefix of the model."""
    return b"\x13" + model + (b"" if height is None else number(height)) + key


def task_due(height: int, key: bytes = b"") -> bytes:
    """A task that the opening at ``height`` looks at; without a task, the prefix of that height."""
    return b"\x14" + number(height) + key


def assigned(miner_key: bytes, key: bytes = b"") -> bytes:
    """A task in a miner's hands; without a task, the prefix of the miner."""
    return b"\x15" + miner_key + key


def commit(key: bytes) -> bytes:
    """Open commit."""
    return b"\x20" + key


def commit_due(height: int, key: bytes = b"") -> bytes:
    """A commit whose proof is missing at ``height``; without a commit, the prefix of that height."""
    return b"\x21" + number(height) + key


def commit_of(miner_key: bytes, key: bytes = b"") -> bytes:
    """An open commit of a miner; without a commit, the prefix of the miner."""
    return b"\x22" + miner_key + key


def beacon(height: int) -> bytes:
    """Beacon of a recent block."""
    return b"\x30" + number(height)


def training_round(round_number: int) -> bytes:
    """A round of training."""
    return b"\x53" + number(round_number)


def checkpoint(step: int) -> bytes:
    """The commons model in use after so many steps."""
    return b"\x54" + number(step)


def proven_vote(commit_key: bytes = b"") -> bytes:
    """The vote of a proven commit; without one, the prefix of all."""
    return b"\x55" + commit_key


def weight(consensus_key: bytes = b"") -> bytes:
    """Proven units of a consensus key; without one, the prefix of all."""
    return b"\x32" + consensus_key


def committee(epoch: int) -> bytes:
    """Committee of an epoch."""
    return b"\x33" + number(epoch)


def conviction(consensus_key: bytes = b"") -> bytes:
    """What a consensus key was convicted of; without one, the prefix of all."""
    return b"\x34" + consensus_key


def candidate(consensus_key: bytes = b"") -> bytes:
    """What a consensus key weighs in the coming draw of seats; without one, the prefix of all."""
    return b"\x35" + consensus_key


def number(value: int) -> bytes:
    """Eight bytes that sort as the number does."""
    return value.to_bytes(8, "big")
