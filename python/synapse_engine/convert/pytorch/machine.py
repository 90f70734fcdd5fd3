"""Walks a pickle's opcodes and builds plain data. Nothing that a pickle names is looked up, imported or called.

The names that a list of weights needs stand for themselves as ``Name``; what they would have built is put together by
the table of builders that the caller gives. Every other name ends the walk.
"""

import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

_MOST_STEPS = 2_000_000
_LONGEST_NAME = 200
# The state of a random generator has 128; Python takes its time over numbers with thousands of digits.
_MOST_BITS = 512
_PLAIN = (str, int, float, bool, type(None))
_MARK = object()

Builder = Callable[..., Any]


class PickleError(ValueError):
    """A pickle that is broken."""


class ForbiddenNameError(PickleError):
    """A pickle that asks for a name that no list of weights needs."""


@dataclass(frozen=True)
class Name:
    """Something that the pickle refers to, by module and name."""

    text: str


class Machine:
    """Runs one pickle. ``builders`` are all the names it may use; ``persistent`` makes what lies outside the pickle."""

    def __init__(self, builders: Mapping[str, Builder], persistent: Callable[[Any], Any]) -> None:
        self._builders = builders
        self._persistent = persistent
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def run(self, pickle: bytes) -> Any:
        """The object that the pickle describes; raises PickleError."""
        try:
            for step, (opcode, argument, _) in enumerate(pickletools.genops(pickle)):
                if step > _MOST_STEPS:
                    raise PickleError(f"it takes more than {_MOST_STEPS} steps")
                if opcode.name == "STOP":
                    return self._pop()
                self._step(opcode.name, argument)
        except PickleError:
            raise
        except (ValueError, TypeError, IndexError, KeyError, AttributeError, OverflowError, RecursionError) as error:
            raise PickleError(str(error)) from error
        raise PickleError("it does not end")

    def _step(self, opcode: str, argument: Any) -> None:
        if opcode in _IGNORED:
            return
        if opcode in _VALUES:
            self._stack.append(_checked(argument))
        elif opcode in _CONSTANTS:
            self._stack.append(_CONSTANTS[opcode]())
        elif opcode in _STORES:
            self._memo[len(self._memo) if opcode == "MEMOIZE" else int(argument)] = self._stack[-1]
        elif opcode in _FETCHES:
            self._stack.append(self._memo[int(argument)])
        elif opcode in _TUPLES:
            self._stack.append(tuple([self._pop() for _ in range(_TUPLES[opcode])][::-1]))
        elif opcode in self._ACTIONS:
            self._ACTIONS[opcode](self, argument)
        else:
            raise PickleError(f"it uses the opcode {opcode}, which lists of weights do without")

    def _pop(self) -> Any:
        value = self._stack.pop()
        if value is _MARK:
            raise PickleError("its stack is out of step")
        return value

    def _pop_to_mark(self) -> list[Any]:
        values: list[Any] = []
        while (value := self._stack.pop()) is not _MARK:
            values.append(value)
        return values[::-1]

    def _tuple(self, _: Any) -> None:
        self._stack.append(tuple(self._pop_to_mark()))

    def _list(self, _: Any) -> None:
        self._stack.append(self._pop_to_mark())

    def _dictionary(self, _: Any) -> None:
        items = self._pop_to_mark()
        self._stack.append({})
        self._set(items)

    def _append(self, _: Any) -> None:
        self._extend([self._pop()])

    def _appends(self, _: Any) -> None:
        self._extend(self._pop_to_mark())

    def _extend(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if not isinstance(target, list):
            raise PickleError("it appends to something that is not a list")
        target.extend(items)

    def _set_item(self, _: Any) -> None:
        value, key = self._pop(), self._pop()
        self._set([key, value])

    def _set_items(self, _: Any) -> None:
        self._set(self._pop_to_mark())

    def _set(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if not isinstance(target, dict) or len(items) % 2:
            raise PickleError("it sets items of something that is not a dictionary")
        for key, value in zip(items[::2], items[1::2], strict=True):
            # Anything else as a key would be hashed, to whatever depth it is nested.
            if not isinstance(key, _PLAIN):
                raise PickleError("a key is neither text nor a number")
            target[key] = value

    def _global(self, argument: str) -> None:
        self._name(*argument.split(" ", 1))

    def _stack_global(self, _: Any) -> None:
        name, module = self._pop(), self._pop()
        self._name(module, name)

    def _name(self, module: Any, name: Any) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise PickleError("it asks for something whose name is not text")
        text = f"{module}.{name}"
        if text not in self._builders:
            raise ForbiddenNameError(text[:_LONGEST_NAME])
        self._stack.append(Name(text))

    def _reduce(self, _: Any) -> None:
        arguments, name = self._pop(), self._pop()
        if not isinstance(name, Name) or not isinstance(arguments, tuple):
            raise PickleError("it calls something that has no name")
        self._stack.append(self._builders[name.text](*arguments))

    def _build(self, _: Any) -> None:
        """State of an object: dropped. A state dict carries its modules' versions so."""
        self._pop()

    def _persistent_id(self, _: Any) -> None:
        self._stack.append(self._persistent(self._pop()))

    def _discard(self, _: Any) -> None:
        self._stack.pop()

    _ACTIONS: ClassVar[dict[str, Callable[["Machine", Any], None]]] = {
        "TUPLE": _tuple, "LIST": _list, "DICT": _dictionary, "APPEND": _append, "APPENDS": _appends,
        "SETITEM": _set_item, "SETITEMS": _set_items, "GLOBAL": _global, "STACK_GLOBAL": _stack_global,
        "REDUCE": _reduce, "BUILD": _build, "BINPERSID": _persistent_id, "POP": _discard,
    }  # fmt: skip


def _checked(value: Any) -> Any:
    """A number or text of a size and spelling that everything after this can handle."""
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:
        raise PickleError(f"a number has {value.bit_length()} bits")
    if isinstance(value, str):
        value.encode("utf-8")
    return value


_IGNORED = {"PROTO", "FRAME"}
_VALUES = {
    "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "UNICODE", "BININT", "BININT1", "BININT2", "INT", "LONG", "LONG1",
    "LONG4", "BINFLOAT", "FLOAT", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8",
}  # fmt: skip
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None, "NEWTRUE": lambda: True, "NEWFALSE": lambda: False, "EMPTY_DICT": dict, "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple, "MARK": lambda: _MARK,
}  # fmt: skip
_STORES = {"PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_FETCHES = {"GET", "BINGET", "LONG_BINGET"}
