"""FlatBuffers, driven by tables of data: checked decoding into `Record`s, and encoding.

In: the bytes of a file and a `Schema` (see `tflite.py`). Out: nested `Record`s. Nothing in the
bytes is trusted: every offset, length and alignment is checked before it is followed, nesting is
bounded, and the number of tables is bounded by the size of the file, so that a file whose offsets
point at each other cannot make the reader loop.

Layout (FlatBuffers internals, public documentation): a table starts with a signed offset back to
its vtable; the vtable holds its own size, the size of the table, and one 16-bit offset per field
(0: the field is not there). Vectors and strings are a 32-bit count and the elements; strings,
vectors and tables are referred to by unsigned 32-bit offsets from where the reference stands.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

from martlet.errors import ModelError
from martlet.records import NamedTuple

MAX_DEPTH = 32
_SCALARS = {
    "bool": "?", "byte": "b", "ubyte": "B", "short": "h", "ushort": "H",
    "int": "i", "uint": "I", "long": "q", "ulong": "Q", "float": "f",
}  # fmt: skip
_NUMBERS = {
    format_: (number.unpack_from, number.size)
    for format_ in _SCALARS.values()
    for number in (struct.Struct("<" + format_),)
}


class Record:
    """One decoded table: its name, and its fields as attributes. Absent tables are None."""

    def __init__(self, table: str, fields: Mapping[str, Any]) -> None:
        self.__dict__.update(fields)
        self.__dict__["_table"] = table

    @property
    def table(self) -> str:
        return str(self.__dict__["_table"])

    def fields(self) -> dict[str, Any]:
        """The fields by name, in schema order."""
        return {k: v for k, v in self.__dict__.items() if k != "_table"}

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"{self.__dict__.get('_table')} has no field {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self.__dict__:
            raise AttributeError(f"{self.table} has no field {name!r}")
        self.__dict__[name] = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Record) and _same(self.__dict__, other.__dict__)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"{self.table}({', '.join(f'{k}={v!r}' for k, v in self.fields().items())})"


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_same(a[k], b[k]) for k in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return a is not None and b is not None and bool(np.array_equal(a, b))
    return bool(a == b or (a != a and b != b))


class Field(NamedTuple):
    name: str
    kind: str  # "scalar", "enum", "string", "table", "union", "vector"
    type: str  # the scalar, enum, table or union; for a vector, its element
    slot: int  # number of the field (of a union's tag; its value has the next)
    default: Any
    format: str  # struct character of a scalar or enum, or of a vector's elements
    vector_of: str  # kind of a vector's elements
    kept: bool  # False: only the number is kept ("!")


class Enum:
    """Names and values of one enum; values without a name stay integers."""

    def __init__(self, base: str, names: str) -> None:
        self.format = _SCALARS[base]
        self.values: dict[str, int] = {}
        value = 0
        for word in names.split():
            if word.startswith("="):
                value = int(word[1:])
            else:
                self.values[word] = value
                value += 1
        self.names = {v: k for k, v in self.values.items()}


class Schema:
    """The parsed tables of one format. Tables are parsed when they are first used."""

    def __init__(
        self,
        enums: Mapping[str, tuple[str, str]],
        unions: Mapping[str, str],
        tables: Mapping[str, str],
    ) -> None:
        self.enums = {name: Enum(base, names) for name, (base, names) in enums.items()}
        self.unions = {name: members.split() for name, members in unions.items()}
        self._lines = tables
        self._tables: dict[str, list[Field]] = {}
        self._defaults: dict[str, dict[str, Any]] = {}
        self._slots: dict[str, dict[int, Field]] = {}

    def has_table(self, name: str) -> bool:
        return name in self._lines

    def fields(self, table: str) -> list[Field]:
        if table not in self._tables:
            self._tables[table] = self._parse(self._lines[table])
        return self._tables[table]

    def defaults(self, table: str) -> dict[str, Any]:
        """The value of every field of a table that an empty table would have."""
        if table not in self._defaults:
            self._defaults[table] = {f.name: f.default for f in self.fields(table) if f.kept}
        return dict(self._defaults[table])

    def by_slot(self, table: str) -> dict[int, Field]:
        """The fields that are read, each by the slot of its value."""
        if table not in self._slots:
            self._slots[table] = {
                f.slot + (f.kind == "union"): f for f in self.fields(table) if f.kept
            }
        return self._slots[table]

    def record(self, table: str, **fields: Any) -> Record:
        """A table made by hand: defaults, with the given fields changed."""
        values = self.defaults(table)
        unknown = fields.keys() - values.keys()
        if unknown:
            raise AttributeError(f"{table} has no field {sorted(unknown)}; it has {list(values)}")
        values.update(fields)
        return Record(table, values)

    def _parse(self, line: str) -> list[Field]:
        fields, slot = [], 0
        for word in line.split():
            name, _, rest = word.partition(":")
            kept = not rest.endswith("!")
            kind_name, _, default = rest.rstrip("!").partition("=")
            field = self._field(name, kind_name, default, slot, kept)
            fields.append(field)
            slot += 2 if field.kind == "union" else 1
        return fields

    def _field(self, name: str, type_: str, default: str, slot: int, kept: bool) -> Field:
        if type_.startswith("["):
            element = type_[1:-1]
            inner = self._field(name, element, "", slot, kept)
            return Field(name, "vector", element, slot, None, inner.format, inner.kind, kept)
        if type_ in _SCALARS:
            value: Any = default
            if type_ == "bool":
                value = default in ("true", "1")
            elif type_ == "float":
                value = float(default or 0)
            else:
                value = int(default or 0)
            return Field(name, "scalar", type_, slot, value, _SCALARS[type_], "", kept)
        if type_ in self.enums:
            enum = self.enums[type_]
            value = default or enum.names.get(0, 0)
            return Field(name, "enum", type_, slot, value, enum.format, "", kept)
        kind = "string" if type_ == "string" else "union" if type_ in self.unions else "table"
        return Field(name, kind, type_, slot, None, "I", "", kept)


class Decoder:
    """Decodes one FlatBuffer. `where` (a file name) starts every error message.

    Vectors of scalars become NumPy arrays of their own, except the byte vectors named in
    `views` (pairs of table and field), which stay views of the bytes that came in.
    """

    def __init__(
        self,
        schema: Schema,
        data: memoryview,
        where: str,
        views: frozenset[tuple[str, str]] = frozenset(),
    ) -> None:
        self.schema = schema
        self.data = data
        self.size = len(data)
        self.where = where
        self.views = views
        # A table takes at least the four bytes of its own vtable offset.
        self.room_left = self.size // 4 + 1
        self.vtables: dict[int, tuple[int, tuple[int, ...]]] = {}

    def root(self, table: str) -> Record:
        if self.size < 8:
            raise self.error("the file is too short", "at least 8 bytes", f"{self.size}")
        return self.table(table, self.reference(0, "root"), table, 0)

    def error(self, problem: str, expected: str = "", found: str = "") -> ModelError:
        return ModelError(
            problem,
            where=self.where,
            expected=expected,
            found=found,
            hint="The file is damaged; get it again or convert the model again.",
        )

    def spend(self, amount: int, path: str) -> None:
        """Raise when more was read than the file can hold once. Parts of a file can be shared,
        so that vectors and strings count, too: one for 64 bytes."""
        self.room_left -= amount
        if self.room_left < 0:
            raise self.error(f"{path}: more tables and vectors than the file has room for")

    def unpack(self, format_: str, position: int, path: str, part: str = "") -> Any:
        """The number at a position. `part` of a path: the two become one for messages only."""
        read, size = _NUMBERS[format_]
        if not 0 <= position <= self.size - size:
            raise self.error(
                f"{path}{'.' * bool(part)}{part} points outside the file",
                f"a position below {self.size - size + 1}",
                str(position),
            )
        if position & 3:  # then it is not aligned to every size
            self.check_alignment(position, size, f"{path}{'.' * bool(part)}{part}")
        return read(self.data, position)[0]

    def check_alignment(self, position: int, size: int, path: str) -> None:
        """Raise unless a number of `size` bytes can lie here. Files exist whose 8-byte numbers
        are aligned to 4 bytes only; TensorFlow Lite reads them."""
        size = min(size, 4)
        if position % size:
            raise self.error(f"{path} is misaligned", f"a multiple of {size}", str(position))

    def reference(self, position: int, path: str) -> int:
        offset = self.unpack("I", position, path)
        if offset == 0:
            raise self.error(f"{path} refers to itself", "an offset above 0", "0")
        return int(position + offset)

    def table(self, name: str, position: int, path: str, depth: int) -> Record:
        self.spend(1, path)
        if depth > MAX_DEPTH:
            raise self.error(f"{path}: tables nested too deeply", f"at most {MAX_DEPTH}")
        vtable = position - self.unpack("i", position, path)
        if vtable not in self.vtables:
            self.vtables[vtable] = self.vtable(vtable, path)
        table_size, slots = self.vtables[vtable]
        if table_size < 4 or position + table_size > self.size:
            raise self.error(f"{path} has a bad size", "it to fit the file", str(table_size))
        values = self.schema.defaults(name)
        present = self.schema.by_slot(name)
        for slot, offset in enumerate(slots):
            if offset == 0 or slot not in present:
                continue
            field = present[slot]
            if field.kind in ("scalar", "enum") and 4 <= offset < table_size:
                number = self.unpack(field.format, position + offset, path, field.name)
                if field.kind == "enum":
                    number = self.schema.enums[field.type].names.get(number, number)
                values[field.name] = number
            elif field.kind == "union":
                if slots[field.slot] == 0:
                    continue
                tag = self.unpack("B", position + slots[field.slot], f"{path}.{field.name}")
                values[field.name] = self.union(field, tag, position + offset, path, depth)
            elif offset < 4 or offset >= table_size:
                raise self.error(
                    f"{path}.{field.name} lies outside its table",
                    f"an offset of 4 to {table_size - 1}",
                    str(offset),
                )
            else:
                values[field.name] = self.value(field, position + offset, name, path, depth)
        return Record(name, values)

    def vtable(self, position: int, path: str) -> tuple[int, tuple[int, ...]]:
        """(size of its tables, where the value of each slot is in them)"""
        size = self.unpack("H", position, path, "vtable")
        table_size = self.unpack("H", position + 2, path, "vtable")
        if size < 4 or size % 2 or position + size > self.size:
            raise self.error(f"vtable of {path} has a bad size", "it to fit", str(size))
        return table_size, struct.unpack_from(f"<{size // 2 - 2}H", self.data, position + 4)

    def union(self, field: Field, tag: int, position: int, path: str, depth: int) -> Record | None:
        if tag == 0:
            return None
        members = self.schema.unions[field.type]
        if tag > len(members):
            raise self.error(
                f"{path}.{field.name} has an unknown type",
                f"a tag of {field.type}, at most {len(members)}",
                str(tag),
            )
        path = f"{path}.{field.name}"
        return self.table(members[tag - 1], self.reference(position, path), path, depth + 1)

    def value(self, field: Field, position: int, table: str, path: str, depth: int) -> Any:
        """What a field refers to: a string, a table or a vector."""
        path = f"{path}.{field.name}"
        target = self.reference(position, path)
        if field.kind == "string":
            return self.string(target, path)
        if field.kind == "table":
            return self.table(field.type, target, path, depth + 1)
        count = self.unpack("I", target, path)
        if field.vector_of in ("scalar", "enum"):
            dtype = np.dtype("<" + field.format)
            self.check_vector(target, count, dtype.itemsize, path)
            self.check_alignment(target + 4, dtype.itemsize, path)
            array = np.frombuffer(self.data, dtype, count, target + 4)
            if (table, field.name) in self.views:
                return array
            self.spend(array.nbytes // 64, path)
            return array.copy()
        self.check_vector(target, count, 4, path)
        self.check_alignment(target + 4, 4, path)
        if count > self.room_left:
            self.spend(count, path)
        items: list[Any] = []
        for i, offset in enumerate(struct.unpack_from(f"<{count}I", self.data, target + 4)):
            at = f"{path}[{i}]"
            if offset == 0:
                raise self.error(f"{at} refers to itself", "an offset above 0", "0")
            item = target + 4 + 4 * i + offset
            if field.vector_of == "string":
                items.append(self.string(item, at))
            else:
                items.append(self.table(field.type, item, at, depth + 1))
        return items

    def check_vector(self, position: int, count: int, size: int, path: str) -> None:
        if position + 4 + count * size > self.size:
            raise self.error(
                f"{path} runs past the end of the file",
                f"at most {(self.size - position - 4) // size} elements",
                str(count),
            )

    def string(self, position: int, path: str) -> str:
        count = self.unpack("I", position, path)
        self.check_vector(position, count, 1, path)
        self.spend(1 + count // 64, path)
        return bytes(self.data[position + 4 : position + 4 + count]).decode(
            "utf-8", "surrogateescape"
        )


class Encoder:
    """Encodes Records into one FlatBuffer, front to back.

    A table is written before what it refers to, so every reference points forward, as the
    format asks.
    """

    def __init__(self, schema: Schema, aligned: Mapping[tuple[str, str], int]) -> None:
        self.schema = schema
        self.aligned = aligned
        self.out = bytearray()
        self.vtables: dict[bytes, int] = {}

    def encode(self, record: Record, identifier: bytes) -> bytearray:
        self.out += b"\0\0\0\0" + identifier
        work: list[tuple[int, Any, Field | None, str]] = [(0, record, None, record.table)]
        # Depth first without recursion: each item is a place that waits for a reference.
        while work:
            place, value, field, table = work.pop()
            if isinstance(value, Record):
                position = self.table(value, work)
            elif isinstance(value, str):
                position = self.string(value)
            else:
                assert field is not None
                position = self.vector(value, field, table, work)
            struct.pack_into("<I", self.out, place, position - place)
        return self.out

    def pad(self, alignment: int, ahead: int = 0) -> None:
        self.out += bytes(-(len(self.out) + ahead) % alignment)

    def string(self, value: str) -> int:
        self.pad(4)
        position = len(self.out)
        text = value.encode("utf-8", "surrogateescape")
        self.out += struct.pack("<I", len(text)) + text + b"\0"
        return position

    def vector(self, value: Any, field: Field, table: str, work: list[Any]) -> int:
        if field.vector_of in ("scalar", "enum"):
            array = np.ascontiguousarray(value, dtype="<" + field.format)
            alignment = self.aligned.get((table, field.name), max(4, array.itemsize))
            self.pad(alignment, 4)
            position = len(self.out)
            self.out += struct.pack("<I", array.size)
            self.out += array.tobytes()
            return position
        self.pad(4)
        position = len(self.out)
        self.out += struct.pack("<I", len(value)) + bytes(4 * len(value))
        for i in reversed(range(len(value))):
            work.append((position + 4 + 4 * i, value[i], None, field.type))
        return position

    def table(self, record: Record, work: list[Any]) -> int:
        fields = self.schema.fields(record.table)
        entries: list[tuple[Field, int, Any, str]] = []  # field, slot, value, format
        for field in fields:
            value = record.fields().get(field.name, field.default) if field.kept else None
            if field.kind == "union":
                if value is not None:
                    tag = self.schema.unions[field.type].index(value.table) + 1
                    entries += [(field, field.slot, tag, "B"), (field, field.slot + 1, value, "I")]
            elif field.kind in ("scalar", "enum"):
                if field.kept and value != field.default:
                    if isinstance(value, str):
                        value = self.schema.enums[field.type].values[value]
                    entries.append((field, field.slot, value, field.format))
            elif value is not None:
                entries.append((field, field.slot, value, "I"))
        # Widest first keeps every field aligned to its own size without gaps.
        entries.sort(key=lambda e: -struct.calcsize("<" + e[3]))
        slots = [0] * (max((e[1] for e in entries), default=-1) + 1)
        offset, widest = 4, 4
        if entries and struct.calcsize("<" + entries[0][3]) == 8:
            widest = 8
        placed = []
        # The table starts so that its first wide field, 4 bytes in, is aligned.
        for field, slot, value, format_ in entries:
            slots[slot] = offset
            placed.append((offset, field, value, format_))
            offset += struct.calcsize("<" + format_)
        vtable_bytes = struct.pack(f"<{2 + len(slots)}H", 4 + 2 * len(slots), offset, *slots)
        vtable = self.vtables.get(vtable_bytes)
        if vtable is None:
            self.pad(2)
            vtable = self.vtables[vtable_bytes] = len(self.out)
            self.out += vtable_bytes
        self.pad(widest, 4 if widest == 8 else 0)
        position = len(self.out)
        self.out += bytes(offset)
        struct.pack_into("<i", self.out, position, position - vtable)
        references = []
        for at, field, value, format_ in placed:
            is_reference = field.kind in ("string", "table", "vector") or (
                field.kind == "union" and format_ == "I"
            )
            if is_reference:
                references.append((position + at, value, field, record.table))
            else:
                struct.pack_into("<" + format_, self.out, position + at, value)
        work.extend(reversed(references))
        return position
