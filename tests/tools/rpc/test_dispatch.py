"""JSON-RPC 2.0 to the letter, and no input that gets past it."""

import json

import trio
from hypothesis import given
from hypothesis import strategies as st

from chain.codec import encode
from chain.reasons import Reason
from chain.types.transaction import Transaction, Transfer, sign_transaction
from tests.tools.chain_node import PARAMS, chain_node
from tests.tools.keys import ALICE, BOB
from tools.rpc.catalog import registry
from tools.rpc.dispatch import MAX_BATCH, Dispatcher
from tools.rpc.faults import Code
from tools.rpc.registry import Registry


def ask(body, *, node=None, local=True, methods=None):
    """The decoded answer to a body, or None."""
    dispatcher = Dispatcher(node or chain_node(), methods or registry())
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()

    async def run():
        return await dispatcher.answer(raw, local=local)

    answer = trio.run(run)
    return None if answer is None else json.loads(answer)


def request(method, params=None, identity=1):
    made = {"jsonrpc": "2.0", "id": identity, "method": method}
    return made if params is None else made | {"params": params}


def transfer(nonce=0, amount=5):
    body = Transfer(BOB.public_key, amount)
    return sign_transaction(Transaction(PARAMS.chain_id, ALICE.public_key, nonce, 10, 0, body), ALICE)


def test_answers_a_call_by_name_and_by_position():
    node = chain_node()
    node.produce()
    by_name = ask(request("block", {"height": 0}), node=node)
    by_position = ask(request("block", [0]), node=node)
    assert by_name == by_position
    assert by_name["result"]["height"] == 0
    assert ask(request("block"), node=node)["result"]["height"] == 1


def test_a_batch_answers_in_order_and_leaves_notifications_out():
    notification = {"jsonrpc": "2.0", "method": "status"}
    answer = ask([request("params", identity="a"), notification, {"foo": 1}, request("nope", identity=2)])
    assert [item["id"] for item in answer] == ["a", None, 2]
    assert [item.get("error", {}).get("code") for item in answer] == [None, -32600, -32601]
    assert ask([notification, notification]) is None
    assert ask(notification) is None


def test_each_mistake_has_its_number():
    cases = [
        (b"{", Code.PARSE_ERROR),
        (b"\xff", Code.PARSE_ERROR),
        (b'{"jsonrpc":"2.0","method":"status","id":1,"id":2}', Code.PARSE_ERROR),
        (b'{"jsonrpc":"2.0","method":"block","id":1,"params":[1.5]}', Code.PARSE_ERROR),
        (b'{"jsonrpc":"2.0","method":"block","id":1,"params":[NaN]}', Code.PARSE_ERROR),
        (b"[" * 2000 + b"]" * 2000, Code.PARSE_ERROR),
        (b"1" * 5000, Code.PARSE_ERROR),
        (b"[" + b"1," * 5000 + b"1]", Code.INVALID_REQUEST),
        (b"[]", Code.INVALID_REQUEST),
        (b"1", Code.INVALID_REQUEST),
        ({"jsonrpc": "1.0", "method": "status", "id": 1}, Code.INVALID_REQUEST),
        ({"jsonrpc": "2.0", "method": 5, "id": 1}, Code.INVALID_REQUEST),
        ({"jsonrpc": "2.0", "method": "status", "id": True}, Code.INVALID_REQUEST),
        ({"jsonrpc": "2.0", "method": "status", "id": 1, "params": "x"}, Code.INVALID_REQUEST),
        ({"jsonrpc": "2.0", "method": "status", "id": 1, "extra": 1}, Code.INVALID_REQUEST),
        ([request("status")] * (MAX_BATCH + 1), Code.INVALID_REQUEST),
        (request("nope"), Code.METHOD_NOT_FOUND),
        (request("block", {"height": "x"}), Code.INVALID_PARAMS),
        (request("block", {"height": -1}), Code.INVALID_PARAMS),
        (request("block", {"heigth": 1}), Code.INVALID_PARAMS),
        (request("block", [1, 2]), Code.INVALID_PARAMS),
        (request("transaction", {}), Code.INVALID_PARAMS),
        (request("transaction", ["ab"]), Code.INVALID_PARAMS),
        (request("block", [99]), Code.NOT_FOUND),
    ]
    for body, number in cases:
        assert ask(body)["error"]["code"] == number, body


def test_a_wrong_parameter_is_named_with_its_path():
    error = ask(request("block", {"height": "x"}))["error"]
    assert error["message"] == '$.height: "x" where an integer was due'
    assert error["data"]["next"] == "block takes ([height]); see rpc.discover"


def test_a_refused_transaction_brings_its_reason_and_a_way_out():
    node = chain_node()
    node.verdict = Reason.NONCE_TOO_LOW
    error = ask(request("send_transaction", [encode(transfer()).hex()]), node=node)["error"]
    assert error["code"] == Code.REFUSED
    assert error["data"]["code"] == "NONCE_TOO_LOW"
    assert error["data"]["next"].startswith("take the account's next nonce")
    malformed = ask(request("send_transaction", ["00"]), node=node)["error"]
    assert malformed["data"]["code"] == "MALFORMED"


def test_a_sent_transaction_is_found_waiting():
    node = chain_node()
    signed = transfer()
    sent = ask(request("send_transaction", {"encoded": encode(signed).hex()}), node=node)["result"]
    assert sent == {"id": signed.id.hex()}
    view = ask(request("transaction", [signed.id.hex()]), node=node)["result"]
    assert view["final"] is False
    assert view["summary"].startswith("send 5 to hrt1")


def test_a_local_method_is_refused_to_strangers():
    def secret(node) -> str:
        """Local."""
        return "here"

    methods = Registry([secret], local_only=["secret"])
    assert ask(request("secret"), methods=methods)["result"] == "here"
    assert ask(request("secret"), methods=methods, local=False)["error"]["code"] == Code.FORBIDDEN


def test_a_bug_in_a_method_is_an_internal_error_without_a_traceback(caplog):
    def broken(node) -> str:
        """Broken."""
        raise ZeroDivisionError("planted detail")

    answer = ask(request("broken"), methods=Registry([broken]))
    assert answer["error"]["code"] == Code.INTERNAL_ERROR
    assert "planted detail" not in json.dumps(answer)
    assert "planted detail" in caplog.text


def test_describes_itself():
    document = ask(request("rpc.discover"))["result"]
    described = {method["name"]: method for method in document["methods"]}
    assert set(described) == {method.name for method in registry().methods}
    assert described["transaction"]["params"][0]["schema"]["pattern"] == "^([0-9a-f]{2}){32,32}$"
    assert all(method["summary"] for method in document["methods"])


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
documents = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
)
names = st.sampled_from([method.name for method in registry().methods]) | st.text(max_size=8)
almost = st.fixed_dictionaries(
    {"jsonrpc": st.just("2.0"), "method": names}, optional={"id": scalars, "params": documents}
)
bodies = (documents | almost | st.lists(almost, max_size=3)).map(lambda body: json.dumps(body).encode())


@given(st.binary(max_size=200) | bodies)
def test_whatever_comes_in_a_proper_answer_goes_out(body):
    answer = ask(body)
    for reply in answer if isinstance(answer, list) else [] if answer is None else [answer]:
        assert reply["jsonrpc"] == "2.0"
        assert ("result" in reply) != ("error" in reply)
        if "error" in reply:
            assert reply["error"]["code"] != Code.INTERNAL_ERROR
            assert set(reply["error"]["data"]) == {"code", "message", "next"}
