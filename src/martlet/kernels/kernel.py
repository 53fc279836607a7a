"""A kernel: a name that is its specification, a function that writes it, its arguments.

Every kernel has one machine signature, `void kernel(block, first, last)`: a block of arguments,
8 bytes each, and the range of work units to do. What a unit is (an element, a row, a tile) each
kernel says. Ranges of one step never overlap, so threads share a step by taking ranges.
"""

from __future__ import annotations

from collections.abc import Callable

from martlet.kernels.language import I64, Argument, Builder, Pointer, Value
from martlet.kernels.targets import Target
from martlet.records import NamedTuple


class Kernel(NamedTuple):
    """`write(k, *arguments, first, last)` writes the body."""

    name: str
    write: Callable[..., None]
    arguments: tuple[Argument, ...]

    def module(self, target: Target) -> str:
        """The LLVM module of this kernel for a target."""
        k = Builder(self.name, target.lanes, target.machine)
        block = Pointer(k, I64, "%block")
        values: list[Value | Pointer] = []
        for i, argument in enumerate(self.arguments):
            if argument.pointer:
                values.append(k.pointer_at(block, i, argument.type))
            else:
                field = (block + i).as_elements(argument.type)
                values.append(k.scalar(field))
        self.write(k, *values, Value(k, I64, "%first"), Value(k, I64, "%last"))
        return k.function("ptr %block, i64 %first, i64 %last")


class EntryPoint(NamedTuple):
    """A function that Python calls: `write(k, *parameters)`, all parameters pointers or i64."""

    name: str
    write: Callable[..., None]
    parameters: tuple[Argument, ...]

    def module(self, target: Target) -> str:
        """The LLVM module of this function for a target."""
        k = Builder(self.name, target.lanes, target.machine)
        texts: list[str] = []
        values: list[Value | Pointer] = []
        for parameter in self.parameters:
            name = f"%{parameter.name}"
            if parameter.pointer:
                texts.append(f"ptr {name}")
                values.append(Pointer(k, parameter.type, name))
            else:
                texts.append(f"{parameter.type} {name}")
                values.append(Value(k, parameter.type, name))
        self.write(k, *values)
        return k.function(", ".join(texts))
