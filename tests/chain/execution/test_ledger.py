"""The write buffer of a block: what a walk over a prefix sees, and what it looks at."""

from hypothesis import given
from hypothesis import strategies as st

from chain.execution.ledger import Ledger
from chain.state.tree import StateTree

KEYS = st.binary(min_size=1, max_size=3)


class Counted(bytes):
    """A key that knows how often it was compared with a prefix."""

    asked = 0

    def startswith(self, *arguments) -> bool:
        Counted.asked += 1
        return super().startswith(*arguments)


@given(
    base=st.sets(KEYS, max_size=8),
    writes=st.lists(st.tuples(KEYS, st.booleans()), max_size=16),
    prefix=st.binary(max_size=2),
)
def test_a_walk_sees_what_is_there(base, writes, prefix):
    ledger = Ledger(StateTree.empty().updated(dict.fromkeys(base, b"old")))
    there = set(base)
    for key, is_put in writes:
        if is_put:
            ledger.put(key, b"new")
            there.add(key)
        else:
            ledger.delete(key)
            there.discard(key)
    assert list(ledger.keys(prefix)) == sorted(key for key in there if key.startswith(prefix))


def test_a_walk_looks_at_the_keys_of_its_prefix_and_at_no_others():
    """A block writes thousands of keys and walks once for each of thousands of tasks."""
    ledger = Ledger(StateTree.empty())
    for number in range(1_000):
        ledger.put(Counted(b"task" + number.to_bytes(2, "big")), b"")
    for number in range(3):
        ledger.put(Counted(b"server" + bytes([number])), b"")
    Counted.asked = 0
    assert len(list(ledger.keys(b"server"))) == 3
    assert Counted.asked <= 4
