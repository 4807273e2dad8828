"""`headrace verify` and `headrace rollback` on the folder of a stopped node."""

import shutil

import pytest
import trio

from chain.database.leveldb import open_leveldb
from chain.layout import UNDO, number
from genesis.document import to_json
from tests.tools.node.long_chain import document, open_chain
from tools.cli.errors import Exit

BLOCKS = 45
EPOCH = 10


@pytest.fixture(scope="module")
def chain_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("chain") / "chain"
    database = open_leveldb(folder)
    chain = open_chain(database, document(epoch_length=EPOCH))
    trio.run(lambda: chain.grow(BLOCKS, transfers=2, direct=3))
    database.close()
    return folder


@pytest.fixture
def home(tmp_path, chain_folder):
    (tmp_path / "genesis.json").write_text(to_json(document(epoch_length=EPOCH)))
    (tmp_path / "config.toml").write_text('genesis = "genesis.json"\n')
    shutil.copytree(chain_folder, tmp_path / "data" / "chain")
    return tmp_path


def change(home, key: bytes, value: bytes | None) -> None:
    database = open_leveldb(home / "data" / "chain")
    database.write([(key, value)])
    database.close()


def test_a_whole_database_fits(headrace, home):
    report = headrace("verify", "--home", home, "--replay", "--json").document
    assert report["faults"] == []
    assert (report["first"], report["head"], report["blocks"], report["replayed"]) == (1, 45, 45, 45)
    assert (report["epochs"], report["undone"]) == (4, 45)
    assert report["transactions"] == 2 * 18
    assert report["certificates"] == 18
    result = headrace("verify", "--home", home)
    assert result.code == 0
    assert "everything fits" in result.out
    assert "blocks: 45 of 45" in result.err


@pytest.mark.parametrize(
    ("namespace", "code"),
    [
        (b"t", "WRONG_INDEX"),
        (b"e", "WRONG_INDEX"),
        (b"d", "WRONG_INDEX"),
        (b"h", "EPOCH_MISSING"),
        (b"k", "WRONG_GENESIS"),
        (b"b", "BLOCK_MISSING"),
        (b"o", "BLOCK_MISSING"),
        (b"s", "DATABASE_DAMAGED"),
    ],
)
def test_whatever_is_missing_is_found(headrace, home, namespace, code):
    database = open_leveldb(home / "data" / "chain")
    keys = [key for key, _ in database.iterate(prefix=namespace)]
    database.close()
    key = keys[0] if namespace == b"k" else namespace + number(EPOCH) if namespace == b"h" else keys[-1]
    change(home, key, None)
    result = headrace("verify", "--home", home, "--json")
    assert result.code == Exit.ERROR
    assert result.error["code"] in (code, "DATABASE_DAMAGED")


def test_a_record_too_many_is_found(headrace, home):
    change(home, b"t" + bytes(32), b"\x92\x01\x00")
    assert headrace("verify", "--home", home, "--json").error["code"] == "STRAY_RECORDS"
    change(home, b"t" + bytes(32), None)
    change(home, UNDO + number(BLOCKS), b"\x91\x90")
    assert headrace("verify", "--home", home, "--json").error["code"] == "WRONG_UNDO"


def test_going_back_needs_a_word_and_says_what_it_does(headrace, home):
    refused = headrace("rollback", "5", "--home", home, "--json")
    assert (refused.code, refused.error["code"]) == (Exit.REFUSED, "FINAL")
    assert "will fetch them again" in refused.error["message"]
    went = headrace("rollback", "5", "--home", home, "--discard-final", "--json").document
    assert (went["before"], went["after"]) == (45, 40)
    report = headrace("verify", "--home", home, "--replay", "--json").document
    assert (report["head"], report["faults"]) == (40, [])
    # Height 38 has no certificate of its own, nor has 37.
    assert headrace("rollback", "2", "--home", home, "--discard-final", "--json").document["after"] == 36
    assert headrace("verify", "--home", home, "--json").document["faults"] == []


def test_nothing_goes_back_further_than_is_known(headrace, home):
    database = open_leveldb(home / "data" / "chain")
    database.write([(UNDO + number(20), None)])
    database.close()
    refused = headrace("rollback", "30", "--home", home, "--discard-final", "--json")
    assert (refused.code, refused.error["code"]) == (Exit.REFUSED, "TOO_FAR_BACK")
    assert headrace("verify", "--home", home, "--json").document["head"] == 45


def prune(home, kept: int) -> int:
    database = open_leveldb(home / "data" / "chain")
    store = open_chain(database, document(epoch_length=EPOCH)).store
    while store.prune(BLOCKS - kept + 1, most=2):
        pass
    database.close()
    return store.first


def give_back_undo_records(home, chain_folder) -> None:
    """As pruning left them before it took them along."""
    source, database = open_leveldb(chain_folder), open_leveldb(home / "data" / "chain")
    database.write(list(source.iterate(prefix=UNDO)))
    source.close()
    database.close()


@pytest.mark.parametrize("is_old", [False, True])
def test_of_a_pruned_node_as_much_is_executed_again_as_can_be(headrace, home, chain_folder, is_old):
    first = prune(home, 30)
    if is_old:
        give_back_undo_records(home, chain_folder)
    result = headrace("verify", "--home", home, "--replay", "--json")
    assert result.code == 0
    report = result.document
    # The state before the first block is here, and the header that it belongs to is not.
    assert (report["first"], report["head"], report["blocks"], report["replayed"]) == (first, 45, 30, 29)
    assert report["faults"] == []
    assert report["notes"] == [
        "blocks were executed again from height 17 on; of height 16 the header below it is not here"
    ]
    shown = headrace("verify", "--home", home, "--replay").out
    assert report["notes"][0] in shown
    assert "everything fits" in shown
    change(home, UNDO + number(30), None)
    report = headrace("verify", "--home", home, "--replay", "--json").document
    assert (report["replayed"], report["faults"]) == (15, [])
    assert report["notes"][0].endswith("from height 31 on; the state before height 30 is not here")
    headrace("rollback", "15", "--home", home, "--discard-final", "--json")
    report = headrace("verify", "--home", home, "--replay", "--json").document
    assert (report["replayed"], report["faults"]) == (0, [])
    assert report["notes"][0] == "no block was executed again; the state before height 30 is not here"


def test_where_an_epoch_ends_before_the_first_block_all_are_executed_again(headrace, home):
    assert prune(home, 25) == 21
    report = headrace("verify", "--home", home, "--replay", "--json").document
    assert (report["replayed"], report["faults"]) == (25, [])
    assert report["notes"] == [
        "blocks were executed again from height 21 on; the blocks before height 21 are not here"
    ]


def test_a_pruned_node_says_how_far_it_goes_back(headrace, home):
    assert prune(home, 30) == 16
    refused = headrace("rollback", "35", "--home", home, "--discard-final", "--json")
    assert (refused.code, refused.error["code"]) == (Exit.REFUSED, "TOO_FAR_BACK")
    assert "back to height 18 at most" in refused.error["message"]
    assert headrace("rollback", "27", "--home", home, "--discard-final", "--json").document["after"] == 18
    assert headrace("verify", "--home", home, "--json").document["faults"] == []


def test_a_running_node_is_left_alone(headrace, home):
    database = open_leveldb(home / "data" / "chain")
    for command in (("verify",), ("rollback", "1", "--discard-final")):
        refused = headrace(*command, "--home", home, "--json")
        assert (refused.code, refused.error["code"]) == (Exit.REFUSED, "LOCKED")
        assert refused.error["next"] == "stop the node first"
    database.close()


def test_another_chains_folder_is_refused(headrace, home):
    (home / "genesis.json").write_text(to_json(document(epoch_length=EPOCH + 1)))
    refused = headrace("verify", "--home", home, "--json")
    assert (refused.code, refused.error["code"]) == (Exit.REFUSED, "FOREIGN")


def test_a_folder_without_a_node_is_said_to_be_one(headrace, tmp_path):
    assert headrace("verify", "--home", tmp_path, "--json").error["code"] == "BAD_CONFIG"
