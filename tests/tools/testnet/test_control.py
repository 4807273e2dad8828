"""Orders to a running testnet."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from tools.testnet import control
from tools.testnet.control import ControlError, NotUp, Order, Verb


@asynccontextmanager
async def listening(folder: Path, carried_out: list[Order]) -> AsyncIterator[None]:
    async def carry_out(order: Order) -> None:
        if order.name == "nobody":
            raise ControlError("nobody does not run")
        carried_out.append(order)

    with trio.fail_after(20):
        listener = control.listen(folder)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(control.serve, listener, carry_out)
            yield
            nursery.cancel_scope.cancel()


async def in_thread(call: Callable[[], object]) -> object:
    return await trio.to_thread.run_sync(call)


async def test_an_order_is_carried_out_and_answered(tmp_path: Path) -> None:
    carried_out: list[Order] = []
    async with listening(tmp_path, carried_out):
        await in_thread(partial(control.give_order, tmp_path, Order(Verb.KILL, "validator-1")))
    assert carried_out == [Order(Verb.KILL, "validator-1")]


async def test_a_refusal_comes_back_with_its_reason(tmp_path: Path) -> None:
    async with listening(tmp_path, []):
        with pytest.raises(ControlError, match="nobody does not run"):
            await in_thread(partial(control.give_order, tmp_path, Order(Verb.START, "nobody")))


async def test_a_folder_takes_one_testnet_at_a_time(tmp_path: Path) -> None:
    async with listening(tmp_path, []):
        with pytest.raises(ControlError, match=r"a testnet runs in .* already"):
            control.listen(tmp_path)


async def test_a_socket_left_by_a_killed_testnet_is_no_obstacle(tmp_path: Path) -> None:
    await control.listen(tmp_path).aclose()
    assert control.socket_path(tmp_path).exists()
    assert not control.answers(control.socket_path(tmp_path))
    await control.listen(tmp_path).aclose()


def test_without_a_testnet_there_is_nobody_to_order(tmp_path: Path) -> None:
    with pytest.raises(NotUp) as refused:
        control.give_order(tmp_path, Order(Verb.DOWN))
    assert str(refused.value) == f"no testnet runs in {tmp_path}"


def test_a_path_too_long_for_a_socket_is_explained(tmp_path: Path) -> None:
    with pytest.raises(ControlError, match="too long a path for a control socket"):
        control.socket_path(tmp_path / ("x" * 100))


async def test_garbage_is_answered_and_others_are_served(tmp_path: Path) -> None:
    carried_out: list[Order] = []
    async with listening(tmp_path, carried_out):
        nested = b"[" * 4000 + b"\n"
        for garbage in (b"\xff\n", b"{}\n", b'{"do": "dance"}\n', b"x" * 5000, b'{"do": "kill"', nested):
            stream = await trio.open_unix_socket(str(control.socket_path(tmp_path)))
            async with stream:
                await stream.send_all(garbage)
                await stream.send_eof()
                assert (await stream.receive_some()).startswith(b'{"error": ')
        await in_thread(partial(control.give_order, tmp_path, Order(Verb.PING)))
    assert carried_out == [Order(Verb.PING)]


@given(st.binary(max_size=200) | st.from_regex(rb'\{"do": "(kill|up)"(, "name": .*)?\}', fullmatch=True))
def test_any_line_is_an_order_or_is_refused(line: bytes) -> None:
    try:
        order = control.parse_order(line)
    except ControlError:
        return
    assert order.verb is Verb.KILL or order.verb in Verb
