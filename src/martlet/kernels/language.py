"""The vector language: a kernel is a Python function that writes LLVM IR while it runs.

    def scale_f32(k, x, y, factor, first, last):
        for i, mask in k.vectors(first, last):
            k.store(y, i, k.load(x, i, mask) * factor, mask)

`k` is the `Builder` of one kernel; `x` and `y` are `Pointer`s, `factor`, `first` and `last` are
`Value`s. Operators on values emit instructions, and `for … in k.range(…)` emits a loop around
what its body emits. Plain Python around it (loops over the rows of a tile, an `if` on an element
type) is decided while the kernel is built: that is how kernels are specialised.

Integers are signed where it matters; `Value` has methods for the unsigned forms. Numbers become
constants of the other operand's type, and a scalar that meets a vector is broadcast. Nothing is
reassociated: sums are made in the order in which they are written, so results do not depend on
what the compiler makes of them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from martlet.records import NamedTuple

_BYTES = {"i1": 1, "i8": 1, "i16": 2, "i32": 4, "i64": 8, "half": 2, "float": 4, "double": 8}
_NUMPY = {
    "i8": np.int8, "i16": np.int16, "i32": np.int32, "i64": np.int64,
    "half": np.float16, "float": np.float32, "double": np.float64,
}  # fmt: skip


class Type(NamedTuple):
    """A scalar (`lanes` 0) or a vector of scalars, in LLVM's names."""

    scalar: str
    lanes: int = 0

    def __str__(self) -> str:
        return f"<{self.lanes} x {self.scalar}>" if self.lanes else self.scalar

    @property
    def is_float(self) -> bool:
        return self.scalar in ("half", "float", "double")

    @property
    def element_bytes(self) -> int:
        return _BYTES[self.scalar]

    def of(self, lanes: int) -> Type:
        """The same element in another number of lanes."""
        return Type(self.scalar, lanes)


I1, I8, I16, I32, I64 = (Type(n) for n in ("i1", "i8", "i16", "i32", "i64"))
F16, F32, F64 = Type("half"), Type("float"), Type("double")
PTR = Type("ptr")

Number = "Value | int | float"


class Value:
    """A result in the code being written; arithmetic on it writes more code."""

    def __init__(self, k: Builder, type_: Type, name: str) -> None:
        self.k = k
        self.type = type_
        self.name = name

    def _binary(self, other: Any, float_op: str, int_op: str, swapped: bool = False) -> Value:
        a, b = self.k.match(self, other)
        if swapped:
            a, b = b, a
        op = float_op if a.type.is_float else int_op
        if not op:
            raise TypeError(f"{a.type} has no such operation")
        return self.k.emit(a.type, f"{op} {a.type} {a.name}, {b.name}")

    def __add__(self, other: Any) -> Value:
        return self._binary(other, "fadd", "add")

    __radd__ = __add__

    def __sub__(self, other: Any) -> Value:
        return self._binary(other, "fsub", "sub")

    def __rsub__(self, other: Any) -> Value:
        return self._binary(other, "fsub", "sub", swapped=True)

    def __mul__(self, other: Any) -> Value:
        return self._binary(other, "fmul", "mul")

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Value:
        return self._binary(other, "fdiv", "")

    def __rtruediv__(self, other: Any) -> Value:
        return self._binary(other, "fdiv", "", swapped=True)

    def __floordiv__(self, other: Any) -> Value:
        """Integer division towards zero; no divisor may be 0, nor in lanes that a mask left out."""
        return self._binary(other, "", "sdiv")

    def __mod__(self, other: Any) -> Value:
        return self._binary(other, "", "srem")

    def __and__(self, other: Any) -> Value:
        return self._binary(other, "", "and")

    def __or__(self, other: Any) -> Value:
        return self._binary(other, "", "or")

    def __xor__(self, other: Any) -> Value:
        return self._binary(other, "", "xor")

    def __lshift__(self, other: Any) -> Value:
        return self._binary(other, "", "shl")

    def __rshift__(self, other: Any) -> Value:
        """Arithmetic: the sign is kept."""
        return self._binary(other, "", "ashr")

    def shift_right_unsigned(self, other: Any) -> Value:
        return self._binary(other, "", "lshr")

    def __neg__(self) -> Value:
        if self.type.is_float:
            return self.k.emit(self.type, f"fneg {self.type} {self.name}")
        return self.k.constant(0, self.type) - self

    def _compare(self, other: Any, float_op: str, int_op: str) -> Value:
        a, b = self.k.match(self, other)
        op = f"fcmp {float_op}" if a.type.is_float else f"icmp {int_op}"
        return self.k.emit(I1.of(a.type.lanes), f"{op} {a.type} {a.name}, {b.name}")

    def __lt__(self, other: Any) -> Value:
        return self._compare(other, "olt", "slt")

    def __le__(self, other: Any) -> Value:
        return self._compare(other, "ole", "sle")

    def __gt__(self, other: Any) -> Value:
        return self._compare(other, "ogt", "sgt")

    def __ge__(self, other: Any) -> Value:
        return self._compare(other, "oge", "sge")

    def equals(self, other: Any) -> Value:
        return self._compare(other, "oeq", "eq")

    def differs(self, other: Any) -> Value:
        return self._compare(other, "une", "ne")

    def below_unsigned(self, other: Any) -> Value:
        return self._compare(other, "olt", "ult")

    def to(self, element: Type) -> Value:
        """Converted to another element type, with the same number of lanes.

        Integers widen by their sign, conditions become 0 or 1; floats round to nearest even, or
        towards zero to integers.
        """
        source, target = self.type, element.of(self.type.lanes)
        if source == target:
            return self
        if source.is_float and target.is_float:
            op = "fpext" if target.element_bytes > source.element_bytes else "fptrunc"
        elif source.is_float:
            op = "fptosi"
        elif target.is_float:
            op = "uitofp" if source.scalar == "i1" else "sitofp"
        elif source.scalar == "i1":
            op = "zext"
        else:
            op = "sext" if target.element_bytes > source.element_bytes else "trunc"
        return self.k.emit(target, f"{op} {source} {self.name} to {target}")

    def to_unsigned(self, element: Type) -> Value:
        """Widened with zeros, or an unsigned integer made a float."""
        target = element.of(self.type.lanes)
        op = "uitofp" if target.is_float else "zext"
        return self.k.emit(target, f"{op} {self.type} {self.name} to {target}")

    def bits_as(self, element: Type) -> Value:
        """The same bits as another element type of the same size."""
        target = element.of(self.type.lanes)
        return self.k.emit(target, f"bitcast {self.type} {self.name} to {target}")


class Variable:
    """A place that loops can write: `v.value` reads it, `v.value = x` writes it."""

    def __init__(self, k: Builder, initial: Value) -> None:
        self.k = k
        self.type = initial.type
        # At the function's entry, so that LLVM turns it into registers.
        self.place = k.emit_at_entry(f"alloca {initial.type}")
        self.value = initial

    @property
    def value(self) -> Value:
        return self.k.emit(self.type, f"load {self.type}, ptr {self.place}")

    @value.setter
    def value(self, new: Value) -> None:
        if new.type != self.type:
            raise TypeError(f"a variable of {self.type} cannot hold {new.type}")
        self.k.write(f"store {self.type} {new.name}, ptr {self.place}")


class Pointer:
    """An address of elements of one scalar type; `p + n` is n elements further on."""

    def __init__(self, k: Builder, element: Type, name: str) -> None:
        self.k = k
        self.element = element
        self.name = name

    def __add__(self, offset: Any) -> Pointer:
        index = self.k.as_value(offset, I64)
        text = f"getelementptr {self.element}, ptr {self.name}, i64 {index.name}"
        return Pointer(self.k, self.element, self.k.emit(PTR, text).name)

    def as_elements(self, element: Type) -> Pointer:
        """The same address, of elements of another type."""
        return Pointer(self.k, element, self.name)


class Argument(NamedTuple):
    """A field of a kernel's argument block, which has 8 bytes for each, in order.

    An integer takes all eight, a float32 the lower four, a pointer is an address.
    """

    name: str
    type: Type
    pointer: bool = False


def arguments(*declarations: str) -> tuple[Argument, ...]:
    """Argument blocks in words: `arguments("x: *float", "n: i64", "factor: float")`."""
    result = []
    for declaration in declarations:
        name, _, kind = (part.strip() for part in declaration.partition(":"))
        result.append(Argument(name, Type(kind.lstrip("*")), kind.startswith("*")))
    return tuple(result)


class Builder:
    """Writes one function. `lanes`: float32 in a vector of the target; `machine`: its family."""

    def __init__(self, name: str, lanes: int, machine: str) -> None:
        self.name = name
        self.lanes = lanes
        self.machine = machine
        self._entry: list[str] = []
        self._body: list[str] = []
        self._globals: list[str] = []
        self._declared: dict[str, str] = {}
        self._count = 0
        self._tables: dict[bytes, str] = {}

    # Writing --------------------------------------------------------------------------------

    def write(self, instruction: str) -> None:
        self._body.append(f"  {instruction}")

    def fresh(self, prefix: str = "v") -> str:
        self._count += 1
        return f"{prefix}{self._count}"

    def emit(self, type_: Type, instruction: str) -> Value:
        name = f"%{self.fresh()}"
        self.write(f"{name} = {instruction}")
        return Value(self, type_, name)

    def local(self, element: Type, count: int) -> Pointer:
        """Room on the stack for some elements, not initialised; each thread has its own."""
        room = self.emit_at_entry(f"alloca [{count} x {element}], align 64")
        return Pointer(self, element, room)

    def emit_at_entry(self, instruction: str) -> str:
        name = f"%{self.fresh()}"
        self._entry.append(f"  {name} = {instruction}")
        return name

    def intrinsic(self, name: str, result: Type, *operands: Value) -> Value:
        """Call an LLVM intrinsic of that full name."""
        types = ", ".join(str(o.type) for o in operands)
        self._declared[name] = f"declare {result} @{name}({types})"
        values = ", ".join(f"{o.type} {o.name}" for o in operands)
        return self.emit(result, f"call {result} @{name}({values})")

    def call_intrinsic(self, name: str, *operands: Value) -> None:
        """Call an LLVM intrinsic that gives nothing."""
        types = ", ".join(str(o.type) for o in operands)
        self._declared[name] = f"declare void @{name}({types})"
        values = ", ".join(f"{o.type} {o.name}" for o in operands)
        self.write(f"call void @{name}({values})")

    def label(self, name: str) -> None:
        self._body.append(f"{name}:")

    # Values ---------------------------------------------------------------------------------

    def constant(self, number: float, type_: Type) -> Value:
        """A number as a scalar, or in every lane."""
        if type_.scalar == "float":
            # LLVM writes float32 constants as the bits of the double that equals them.
            bits = struct.unpack("<Q", struct.pack("<d", float(np.float32(number))))[0]
            text = f"0x{bits:016X}"
        elif type_.scalar == "double":
            text = f"0x{struct.unpack('<Q', struct.pack('<d', number))[0]:016X}"
        elif type_.scalar == "half":
            text = f"0xH{int(np.float16(number).view(np.uint16)):04X}"
        else:
            text = str(int(number))
        if type_.lanes:
            lane = f"{type_.scalar} {text}"
            return Value(self, type_, f"<{', '.join([lane] * type_.lanes)}>")
        return Value(self, type_, text)

    def as_value(self, value: Any, type_: Type) -> Value:
        """A value of that type: broadcast, or made from a number, if need be."""
        if not isinstance(value, Value):
            return self.constant(value, type_)
        if value.type == type_:
            return value
        if value.type.lanes == 0 and value.type.scalar == type_.scalar:
            return self.broadcast(value, type_.lanes)
        raise TypeError(f"{value.type} is not {type_}; convert it with .to()")

    def match(self, a: Any, b: Any) -> tuple[Value, Value]:
        """Both operands in one type."""
        if not isinstance(b, Value) or (isinstance(a, Value) and a.type.lanes >= b.type.lanes):
            return a, self.as_value(b, a.type)
        return self.as_value(a, b.type), b

    def variable(self, initial: Value) -> Variable:
        return Variable(self, initial)

    def zeros(self, element: Type = F32, lanes: int | None = None) -> Value:
        return self.constant(0, element.of(self.lanes if lanes is None else lanes))

    def broadcast(self, value: Value, lanes: int | None = None) -> Value:
        """A scalar in every lane."""
        type_ = value.type.of(self.lanes if lanes is None else lanes)
        if not type_.lanes:
            return value
        one = self.emit(type_, f"insertelement {type_} poison, {value.type} {value.name}, i64 0")
        zeros = f"<{type_.lanes} x i32> zeroinitializer"
        return self.emit(type_, f"shufflevector {type_} {one.name}, {type_} poison, {zeros}")

    def shuffle(self, a: Value, b: Value, lanes: Sequence[int]) -> Value:
        """Lanes chosen from a (0 to n-1) and b (n to 2n-1)."""
        mask = ", ".join(f"i32 {i}" for i in lanes)
        text = f"shufflevector {a.type} {a.name}, {b.type} {b.name}, <{len(lanes)} x i32> <{mask}>"
        return self.emit(a.type.of(len(lanes)), text)

    def lane(self, value: Value, i: int) -> Value:
        """One lane as a scalar."""
        return self.emit(value.type.of(0), f"extractelement {value.type} {value.name}, i64 {i}")

    def with_lane(self, value: Value, i: int, lane: Value) -> Value:
        """The vector with another scalar in one lane."""
        text = f"insertelement {value.type} {value.name}, {lane.type} {lane.name}, i64 {i}"
        return self.emit(value.type, text)

    def lane_numbers(self, element: Type = I32, lanes: int | None = None) -> Value:
        """0, 1, 2, … in the lanes of a vector."""
        count = self.lanes if lanes is None else lanes
        numbers = ", ".join(f"{element} {i}" for i in range(count))
        return Value(self, element.of(count), f"<{numbers}>")

    # Functions ------------------------------------------------------------------------------

    def fma(self, a: Value, b: Value, c: Value) -> Value:
        """a * b + c, rounded once."""
        a, b = self.match(a, b)
        c, a = self.match(c, a)
        return self._elementwise("llvm.fma", a, self.as_value(b, a.type), c)

    def select(self, condition: Value, a: Any, b: Any) -> Value:
        """a where the condition holds, else b."""
        a, b = self.match(a, b) if isinstance(a, Value) else self.match(b, a)[::-1]
        return self.emit(
            a.type,
            f"select {condition.type} {condition.name}, {a.type} {a.name}, {b.type} {b.name}",
        )

    def maximum(self, a: Value, b: Any) -> Value:
        """The larger; b where a is not a number."""
        return self.select(a > b, a, b)

    def minimum(self, a: Value, b: Any) -> Value:
        """The smaller; b where a is not a number."""
        return self.select(a < b, a, b)

    def absolute(self, a: Value) -> Value:
        if a.type.is_float:
            return self._elementwise("llvm.fabs", a)
        return self.select(a < 0, -a, a)

    def square_root(self, a: Value) -> Value:
        return self._elementwise("llvm.sqrt", a)

    def floor(self, a: Value) -> Value:
        return self._elementwise("llvm.floor", a)

    def ceil(self, a: Value) -> Value:
        return self._elementwise("llvm.ceil", a)

    def round_to_even(self, a: Value) -> Value:
        return self._elementwise("llvm.roundeven", a)

    def truncate(self, a: Value) -> Value:
        return self._elementwise("llvm.trunc", a)

    def _elementwise(self, name: str, *operands: Value) -> Value:
        type_ = operands[0].type
        return self.intrinsic(f"{name}.{_suffix(type_)}", type_, *operands)

    def sum_of_lanes(self, a: Value) -> Value:
        """The sum of all lanes, halves added to halves, so always in the same order."""
        while a.type.lanes > 1:
            half = a.type.lanes // 2
            low = self.shuffle(a, a, range(half))
            a = low + self.shuffle(a, a, range(half, 2 * half))
        return self.lane(a, 0)

    def all_lanes(self, mask: Value) -> Value:
        """Whether a condition holds in every lane."""
        return self.intrinsic(f"llvm.vector.reduce.and.{_suffix(mask.type)}", I1, mask)

    # Memory ---------------------------------------------------------------------------------

    def load(
        self, p: Pointer, index: Any = 0, mask: Value | None = None, lanes: int | None = None
    ) -> Value:
        """`lanes` elements from p[index] on; those that the mask leaves out are 0, unread."""
        type_ = p.element.of(self.lanes if lanes is None else lanes)
        address = (p + index).name
        if mask is None or not type_.lanes:
            return self.emit(type_, f"load {type_}, ptr {address}, align {p.element.element_bytes}")
        name = f"llvm.masked.load.{_suffix(type_)}.p0"
        self._declared[name] = f"declare {type_} @{name}(ptr, i32, {mask.type}, {type_})"
        align = p.element.element_bytes
        return self.emit(
            type_,
            f"call {type_} @{name}(ptr {address}, i32 {align}, {mask.type} {mask.name}, "
            f"{type_} zeroinitializer)",
        )

    def scalar(self, p: Pointer, index: Any = 0) -> Value:
        """The element p[index]."""
        return self.load(p, index, lanes=0)

    def store(self, p: Pointer, index: Any, value: Value, mask: Value | None = None) -> None:
        """Write a scalar or the lanes of a vector from p[index] on; masked lanes only."""
        if value.type.scalar != p.element.scalar:
            raise TypeError(f"{value.type} does not go into elements of {p.element}")
        address, align = (p + index).name, p.element.element_bytes
        if mask is None or not value.type.lanes:
            self.write(f"store {value.type} {value.name}, ptr {address}, align {align}")
            return
        name = f"llvm.masked.store.{_suffix(value.type)}.p0"
        self._declared[name] = f"declare void @{name}({value.type}, ptr, i32, {mask.type})"
        self.write(
            f"call void @{name}({value.type} {value.name}, ptr {address}, i32 {align}, "
            f"{mask.type} {mask.name})"
        )

    def table(self, values: np.ndarray) -> Pointer:
        """Constants of the kernel, read only; equal ones are laid down once."""
        array = np.ascontiguousarray(values)
        scalar = next(n for n, t in _NUMPY.items() if t == array.dtype)
        key = array.tobytes() + scalar.encode()
        if key not in self._tables:
            name = f"@{self.name}.table{len(self._tables)}"
            data = "".join(f"\\{byte:02X}" for byte in array.tobytes())
            self._globals.append(
                f'{name} = private unnamed_addr constant [{array.nbytes} x i8] c"{data}", align 64'
            )
            self._tables[key] = name
        return Pointer(self, Type(scalar), self._tables[key])

    def atomic_add(self, p: Pointer, amount: Any) -> Value:
        """Add to p[0] as one step among all threads; returns what was there before."""
        value = self.as_value(amount, p.element)
        text = f"atomicrmw add ptr {p.name}, {value.type} {value.name} seq_cst"
        return self.emit(p.element, text)

    def atomic_load(self, p: Pointer) -> Value:
        """p[0], and all that was written before it was stored."""
        size = p.element.element_bytes
        return self.emit(p.element, f"load atomic {p.element}, ptr {p.name} acquire, align {size}")

    def atomic_store(self, p: Pointer, value: Any) -> None:
        stored = self.as_value(value, p.element)
        size = p.element.element_bytes
        self.write(f"store atomic {stored.type} {stored.name}, ptr {p.name} release, align {size}")

    def pointer_at(self, p: Pointer, index: Any, element: Type) -> Pointer:
        """A pointer that stands in memory at p[index]; p points to 8-byte elements."""
        name = self.emit(PTR, f"load ptr, ptr {(p + index).name}, align 8").name
        return Pointer(self, element, name)

    def address(self, p: Pointer) -> Value:
        """Where a pointer points, as an integer in bytes; `pointer_at` reads such integers."""
        return self.emit(I64, f"ptrtoint ptr {p.name} to i64")

    def prefetch(self, p: Pointer) -> None:
        """Ask for a cache line that will be read soon; the address need not exist."""
        reads, soon, data = (self.constant(n, I32) for n in (0, 3, 1))
        self.call_intrinsic("llvm.prefetch.p0", Value(self, PTR, p.name), reads, soon, data)

    def other_name(self, p: Pointer) -> Pointer:
        """The same address, which the compiler takes for another: what is loaded through it is
        loaded again, where keeping it would take a register that is not there."""
        text = f'call ptr asm "", "=r,0"(ptr {p.name})'
        return Pointer(self, p.element, self.emit(PTR, text).name)

    def call(self, function: Pointer, *operands: Value | Pointer) -> None:
        """Call a function by its address."""
        passed = ", ".join(
            f"ptr {o.name}" if isinstance(o, Pointer) else f"{o.type} {o.name}" for o in operands
        )
        self.write(f"call void {function.name}({passed})")

    def pause(self) -> None:
        """Tell the processor that this is a waiting loop."""
        if self.machine == "x86_64":
            self.call_intrinsic("llvm.x86.sse2.pause")
        else:
            self.call_intrinsic("llvm.aarch64.hint", self.constant(1, I32))

    # Flow -----------------------------------------------------------------------------------

    def range(self, start: Any, stop: Any, step: int = 1) -> Iterator[Value]:
        """`for i in k.range(a, b):` runs its body for a, a + step, … below b."""
        stop = self.as_value(stop, I64)
        counter = self.variable(self.as_value(start, I64))
        name = self.fresh("loop")
        self.write(f"br label %{name}.head")
        self.label(f"{name}.head")
        i = counter.value
        inside = i < stop
        self.write(f"br i1 {inside.name}, label %{name}.body, label %{name}.end")
        self.label(f"{name}.body")
        yield i
        counter.value = i + step
        self.write(f"br label %{name}.head")
        self.label(f"{name}.end")

    def vectors(
        self, start: Any, stop: Any, lanes: int | None = None
    ) -> Iterator[tuple[Value, Value | None]]:
        """`for i, mask in k.vectors(a, b):` goes through elements a vector at a time.

        The body is written twice: for whole vectors (mask None), and once more for what is left
        over, under a mask.
        """
        width = self.lanes if lanes is None else lanes
        start, stop = self.as_value(start, I64), self.as_value(stop, I64)
        whole = start + (stop - start) // width * width
        for i in self.range(start, whole, width):
            yield i, None
        with self.when(whole < stop):
            left = self.broadcast((stop - whole).to(I32), width)
            yield whole, self.lane_numbers(I32, width) < left

    @contextmanager
    def when(self, condition: Value) -> Iterator[None]:
        """`with k.when(c):` runs its body if the condition holds."""
        name = self.fresh("if")
        self.write(f"br i1 {condition.name}, label %{name}.then, label %{name}.end")
        self.label(f"{name}.then")
        yield
        self.write(f"br label %{name}.end")
        self.label(f"{name}.end")

    @contextmanager
    def forever(self) -> Iterator[Loop]:
        """`with k.forever() as loop:` repeats its body until `loop.leave_if(condition)`."""
        name = self.fresh("loop")
        self.write(f"br label %{name}.body")
        self.label(f"{name}.body")
        yield Loop(self, f"{name}.end")
        self.write(f"br label %{name}.body")
        self.label(f"{name}.end")

    # The whole ------------------------------------------------------------------------------

    def function(self, parameters: str) -> str:
        """The text of an LLVM module with this one function, and what it uses."""
        lines = [
            *self._globals,
            f"define void @{self.name}({parameters}) #0 {{",
            "entry:",
            *self._entry,
            "  br label %start",
            "start:",
            *self._body,
            "  ret void",
            "}",
            *self._declared.values(),
            'attributes #0 = { nounwind "no-builtins" }',
        ]
        return "\n".join(lines) + "\n"


class Loop:
    """A `forever` loop that is being written."""

    def __init__(self, k: Builder, end: str) -> None:
        self.k = k
        self.end = end

    def leave_if(self, condition: Value) -> None:
        on = self.k.fresh("on")
        self.k.write(f"br i1 {condition.name}, label %{self.end}, label %{on}")
        self.k.label(on)


def _suffix(type_: Type) -> str:
    short = {"half": "f16", "float": "f32", "double": "f64"}.get(type_.scalar, type_.scalar)
    return f"v{type_.lanes}{short}" if type_.lanes else short
