"""Each decoder: its seeds, blind mutation, memory, its planted bug, and what was once found."""

import random
from pathlib import Path

import pytest

from tests.fuzz.canary import Canary, canary
from tests.fuzz.memory import TIMES, dearest
from tests.fuzz.mutation import mutated
from tests.fuzz.target import SEEDS
from tests.fuzz.targets import TARGETS

SEED = 20_261_122
TRIES = 1500
MEASURED = 150
FOUND = Path(__file__).parent / "found"

every_target = pytest.mark.parametrize("name", TARGETS)


@every_target
def test_every_seed_is_accepted(name: str):
    seeds = TARGETS[name].seeds(random.Random(SEED))
    assert 0 < len(seeds) <= SEEDS
    assert all(TARGETS[name].accepts(seed) for seed in seeds)


@every_target
def test_no_change_to_a_seed_raises_what_the_decoder_does_not_name(name: str):
    chance = random.Random(SEED)
    seeds = TARGETS[name].seeds(chance)
    for _ in range(TRIES):
        data = mutated(seeds, chance)
        try:
            TARGETS[name].accepts(data)
        except Exception as error:
            raise AssertionError(f"{name}: {error!r} on {data.hex()}") from error


@every_target
def test_memory_stays_within_eight_times_the_input(name: str):
    chance = random.Random(SEED + 1)
    seeds = TARGETS[name].seeds(chance)
    times, data = dearest(TARGETS[name].attempt, [*seeds, *(mutated(seeds, chance) for _ in range(MEASURED))])
    assert times <= TIMES, f"{name}: {times:.1f} times {len(data)} bytes: {data.hex()}"


DENSE = {
    "empty lists": b"[%s[]]" % (b"[]," * 4000),
    "empty objects": b"[%s{}]" % (b"{}," * 4000),
    "small objects": b"[%s{}]" % (b'{"a":1},' * 4000),
    "an object of small objects": b'{"a":%s0}' % b"".join(b'{"%d":1},"b%d":' % (i, i) for i in range(3000)),
    "numbers": b"[%s1000]" % (b"1000," * 4000),
    "lists in lists": b"[" * 900 + b"]" * 900,
}
"""JSON that takes many times its size when it is read: no blind change finds these."""


@pytest.mark.parametrize("shape", DENSE)
@pytest.mark.parametrize(
    "name",
    [
        "artifact",
        "balance-proof",
        "genesis",
        "guard-export",
        "key-file",
        "model-config",
        "rpc",
        "tensor-file",
    ],
)
def test_dense_json_stays_within_eight_times_its_size_too(name: str, shape: str):
    data = DENSE[shape]
    if name == "tensor-file":
        data = len(data).to_bytes(8, "little") + data
    times, _ = dearest(TARGETS[name].attempt, [data])
    assert times <= TIMES, f"{name}: {times:.1f} times {len(data)} bytes"


@every_target
def test_the_planted_bug_is_found(name: str):
    chance = random.Random(SEED)
    target = canary(name)
    seeds = target.seeds(chance)

    def fuzz() -> None:
        for _ in range(50_000):
            target.accepts(mutated(seeds, chance))

    with pytest.raises(Canary):
        fuzz()


@pytest.mark.parametrize(
    "path", sorted(FOUND.glob("*/*")), ids=lambda path: f"{path.parent.name}-{path.name}"
)
def test_what_was_once_found_stays_fixed(path: Path):
    TARGETS[path.parent.name].accepts(path.read_bytes())
