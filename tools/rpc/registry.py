"""Typed functions as RPC methods: parameters and results are read off their signatures.

A method is a function whose first parameter is the node and whose others are annotated with types that
`tools.rpc.wire` knows. Its docstring's first line is its summary.
"""

import inspect
import typing
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tools.rpc import wire
from tools.rpc.faults import Code, RpcFault
from tools.rpc.view import NodeView
from tools.rpc.wire import Json


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a method."""

    name: str
    kind: Any
    required: bool


@dataclass(frozen=True, slots=True)
class Method:
    """A function that can be called from outside."""

    name: str
    function: Callable[..., Any]
    parameters: tuple[Parameter, ...]
    result: Any
    summary: str
    local_only: bool
    """Answered to callers on this machine alone."""

    async def call(self, node: NodeView, params: Json, *, prefix: str) -> Json:
        """Read the parameters, run the function, write its result.

        Raises:
            RpcFault: INVALID_PARAMS, or whatever the function raises.
        """
        arguments = self.arguments(params, prefix=prefix)
        result = self.function(node, **arguments)
        if isinstance(result, Awaitable):
            result = await result
        return wire.write(self.result, result, prefix=prefix)

    def arguments(self, params: Json, *, prefix: str) -> dict[str, Any]:
        """Parameters by name, from an object or, in order, from an array.

        Raises:
            RpcFault: INVALID_PARAMS with the path of what is wrong.
        """
        given = self._named(params)
        arguments: dict[str, Any] = {}
        for parameter in self.parameters:
            if parameter.name not in given:
                if parameter.required:
                    raise self._invalid(f"$.{parameter.name}: is missing")
                continue
            try:
                arguments[parameter.name] = wire.read(
                    parameter.kind, given[parameter.name], prefix=prefix, path=f"$.{parameter.name}"
                )
            except wire.WireError as error:
                raise self._invalid(str(error)) from None
        return arguments

    def _named(self, params: Json) -> dict[str, Json]:
        names = [parameter.name for parameter in self.parameters]
        if params is None:
            return {}
        if isinstance(params, list):
            if len(params) > len(names):
                raise self._invalid(f"$: {len(params)} parameters, {self.name} takes {len(names)}")
            return dict(zip(names, params, strict=False))
        assert isinstance(params, dict), "the dispatcher lets only arrays and objects through"
        unknown = sorted(set(params) - set(names))
        if unknown:
            raise self._invalid(f"$.{unknown[0]}: is no parameter of {self.name}")
        return params

    def _invalid(self, message: str) -> RpcFault:
        usage = ", ".join(item.name if item.required else f"[{item.name}]" for item in self.parameters)
        next_step = f"{self.name} takes ({usage}); see rpc.discover"
        return RpcFault(Code.INVALID_PARAMS, message[:400], next_step=next_step)


class Registry:
    """The methods of a server, by name."""

    def __init__(self, functions: Iterable[Callable[..., Any]], *, local_only: Iterable[str] = ()) -> None:
        only = frozenset(local_only)
        made = [method_of(function, local_only=function.__name__ in only) for function in functions]
        self._methods = {method.name: method for method in made}
        assert only <= self._methods.keys(), f"unknown methods {only - self._methods.keys()}"

    def get(self, name: str) -> Method | None:
        """The method of that name."""
        return self._methods.get(name)

    @property
    def methods(self) -> Sequence[Method]:
        """All methods, by name."""
        return [self._methods[name] for name in sorted(self._methods)]


def method_of(function: Callable[..., Any], *, local_only: bool = False) -> Method:
    """Make a method of a typed function.

    Raises:
        TypeError: An annotation is missing or has no JSON form.
    """
    hints = typing.get_type_hints(function, include_extras=True)
    _, *rest = inspect.signature(function).parameters.values()
    parameters = []
    for item in rest:
        if item.name not in hints:
            raise TypeError(f"{function.__name__}: parameter {item.name} has no annotation")
        wire.form_of(hints[item.name])
        parameters.append(Parameter(item.name, hints[item.name], item.default is inspect.Parameter.empty))
    wire.form_of(hints["return"])
    summary = (inspect.getdoc(function) or "").split("\n", 1)[0]
    return Method(function.__name__, function, tuple(parameters), hints["return"], summary, local_only)
