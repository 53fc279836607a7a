"""State that outlives a run: resource variables and hash tables.

A handle is the number of a resource within one session; variables are numbered by their
(container, shared name), tables by the `table_id` of their options. Tables map int64 to string
or string to int64, are filled once (a second import is ignored) and never change.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from martlet.dtypes import DType
from martlet.ops.operator import Call, Spec, register

_HANDLES = (DType.RESOURCE, DType.INT32)
_TABLE_TYPES = ((DType.INT64, DType.STRING), (DType.STRING, DType.INT64))


def _check_handle(call: Call, *allowed: DType) -> None:
    call.check_dtype(0, *allowed)
    shape = call.shape(0)
    call.check(
        np.prod(shape, dtype=object) == 1, "a handle is one value", "1", f"shape {list(shape)}"
    )


def _infer_handle(call: Call) -> list[Spec]:
    call.check(
        call.output().dtype in _HANDLES,
        "the output of a handle has the wrong type",
        "RESOURCE or INT32",
        call.output().dtype.name,
    )
    return [Spec(call.output().dtype, call.output().shape)]


def _var_handle(call: Call) -> np.ndarray:
    names = call.session.resources.setdefault("variable names", {})
    key = (call.option("container") or "", call.option("shared_name") or "")
    number = names.setdefault(key, len(names))
    return np.full(call.output().shape, number, np.int32)


def _read_spec(call: Call) -> list[Spec]:
    _check_handle(call, *_HANDLES)
    output = call.output()
    # A declared rank of 0 may also mean that the rank is unknown.
    sizes = output.signature or output.shape
    static = len(sizes) > 0 and -1 not in sizes
    return [Spec(output.dtype, output.shape if static else None)]


def _read(call: Call, handle: np.ndarray) -> np.ndarray:
    value: np.ndarray | None = call.session.resources.get(("variable", int(handle.item())))
    if value is None:
        call.fail_run(
            "the variable is read before anything was assigned to it",
            hint="Run the model's initialising signature first.",
        )
    spec = _read_spec(call)[0]
    if value.dtype != spec.dtype.numpy or spec.shape not in (None, value.shape):
        call.fail_run(
            "the variable holds a value of another shape or type",
            f"{spec.dtype.name} {spec.shape}",
            f"{value.dtype} {value.shape}",
        )
    return value


def _infer_assign(call: Call) -> list[Spec]:
    _check_handle(call, *_HANDLES)
    return []


def _assign(call: Call, handle: np.ndarray, value: np.ndarray) -> list[np.ndarray]:
    key = "variable", int(handle.item())
    resources = call.session.resources
    before = resources[key].nbytes if key in resources else 0
    held = resources.get("variable bytes", 0) - before + value.nbytes
    call.session.reserve(held, call.place)
    resources[key], resources["variable bytes"] = value.copy(), held
    return []


def _infer_table(call: Call) -> list[Spec]:
    types = call.option("key_dtype"), call.option("value_dtype")
    known = [(k.name, v.name) for k, v in _TABLE_TYPES]
    call.check(types in known, "a table of these types is not supported", str(known), str(types))
    call.check(
        call.output().dtype is DType.RESOURCE,
        "the output is not a handle",
        "RESOURCE",
        call.output().dtype.name,
    )
    return [Spec(DType.RESOURCE, (1,))]


def _table(call: Call) -> np.ndarray:
    number = int(call.option("table_id"))
    key = ("table", number)
    if key not in call.session.resources:
        types = DType[call.option("key_dtype")], DType[call.option("value_dtype")]
        call.session.resources[key] = {"types": types, "entries": None}
    return np.array([number], np.int32)


def _find_table(call: Call, handle: np.ndarray) -> dict[str, Any]:
    table: dict[str, Any] | None = call.session.resources.get(("table", int(handle.item())))
    if table is None:
        call.fail_run("there is no table with this handle", found=str(int(handle.item())))
    return table


def _check_table_types(call: Call, table: dict[str, Any], keys: DType, values: DType) -> None:
    if table["types"] != (keys, values):
        call.fail_run(
            "the table has other types", f"{table['types'][0].name} to {table['types'][1].name}",
            f"{keys.name} to {values.name}",
        )  # fmt: skip


def _infer_import(call: Call) -> list[Spec]:
    _check_handle(call, DType.RESOURCE)
    _check_pair(call, call.dtype(1), call.dtype(2))
    call.check(
        call.shape(1) == call.shape(2),
        "keys and values differ in shape",
        str(list(call.shape(1))),
        str(list(call.shape(2))),
    )
    return []


def _check_pair(call: Call, keys: DType, values: DType) -> None:
    call.check(
        (keys, values) in _TABLE_TYPES,
        "a table of these types is not supported",
        "INT64 to STRING or STRING to INT64",
        f"{keys.name} to {values.name}",
    )


def _import(
    call: Call, handle: np.ndarray, keys: np.ndarray, values: np.ndarray
) -> list[np.ndarray]:
    table = _find_table(call, handle)
    _check_table_types(call, table, call.dtype(1), call.dtype(2))
    if table["entries"] is None:
        entries: dict[Any, Any] = {}
        for key, value in zip(keys.ravel().tolist(), values.ravel().tolist(), strict=True):
            entries.setdefault(key, value)
        table["entries"] = entries
    return []


def _infer_find(call: Call) -> list[Spec]:
    _check_handle(call, DType.RESOURCE)
    _check_pair(call, call.dtype(1), call.dtype(2))
    size = np.prod(call.shape(2), dtype=object)
    call.check(size >= 1, "the default value is missing", "one value", str(size))
    return [Spec(call.dtype(2), call.shape(1))]


def _find(call: Call, handle: np.ndarray, keys: np.ndarray, default: np.ndarray) -> np.ndarray:
    table = _find_table(call, handle)
    _check_table_types(call, table, call.dtype(1), call.dtype(2))
    entries = table["entries"]
    if entries is None:
        call.fail_run("the table is used before it was filled")
    missing = default.ravel()[0]
    result = np.empty(keys.size, default.dtype)
    for i, key in enumerate(keys.ravel().tolist()):
        result[i] = entries.get(key, missing)
    return result.reshape(keys.shape)


def _infer_size(call: Call) -> list[Spec]:
    _check_handle(call, DType.RESOURCE)
    return [Spec(DType.INT64, (1,))]


def _size(call: Call, handle: np.ndarray) -> np.ndarray:
    return np.array([len(_find_table(call, handle)["entries"] or ())], np.int64)


register(
    "VAR_HANDLE", infer=_infer_handle, evaluate=_var_handle, inputs=0,
    options="VarHandleOptions", pure=False,
)  # fmt: skip
register(
    "READ_VARIABLE", infer=_read_spec, evaluate=_read, inputs=1,
    options="ReadVariableOptions", pure=False,
)  # fmt: skip
register(
    "ASSIGN_VARIABLE", infer=_infer_assign, evaluate=_assign, inputs=2, outputs=0,
    options="AssignVariableOptions", pure=False,
)  # fmt: skip
register(
    "HASHTABLE", infer=_infer_table, evaluate=_table, inputs=0,
    options="HashtableOptions", pure=False,
)  # fmt: skip
register(
    "HASHTABLE_IMPORT", infer=_infer_import, evaluate=_import, inputs=3, outputs=0,
    options="HashtableImportOptions", pure=False,
)  # fmt: skip
register(
    "HASHTABLE_FIND", infer=_infer_find, evaluate=_find, inputs=3,
    options="HashtableFindOptions", pure=False,
)  # fmt: skip
register(
    "HASHTABLE_SIZE", infer=_infer_size, evaluate=_size, inputs=1,
    options="HashtableSizeOptions", pure=False,
)  # fmt: skip
