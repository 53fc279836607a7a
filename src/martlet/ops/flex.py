"""TensorFlow operators (`FlexX`) that have a twin among the builtins: the twin runs.

Files converted with `SELECT_TF_OPS` keep operators of TensorFlow as custom operators, although
many of them have the meaning of a builtin. `_TWINS` names the twin of each, and `_OPTIONS` how its
options follow from TensorFlow's attributes. An axis that TensorFlow takes as an input and the
builtin as an option is moved. All rules and checks are the twin's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from martlet.dtypes import DType
from martlet.ops.node_def import Attributes, TFType, attributes
from martlet.ops.operator import Call, Operator, Spec, lookup, register
from martlet.records import replace

Rule = Callable[[Call, Attributes], Any]


def _integer(name: str, default: int = 0, bits: int = 32) -> Rule:
    def rule(call: Call, found: Attributes) -> int:
        value = found.get(name, default)
        if not isinstance(value, int) or not -(1 << bits - 1) <= value < 1 << bits - 1:
            call.fail(f"attribute {name} is not a {bits}-bit integer", found=repr(value)[:40])
        return int(value)

    return rule


def _number(name: str, default: float) -> Rule:
    def rule(call: Call, found: Attributes) -> float:
        value = found.get(name, default)
        if not isinstance(value, (int, float)):
            call.fail(f"attribute {name} is not a number", found=repr(value)[:40])
        return float(value)

    return rule


def _flag(name: str, default: bool = False) -> Rule:
    return lambda call, found: bool(found.get(name, default))


def _list(name: str, kind: type, dtype: type) -> Rule:
    def rule(call: Call, found: Attributes) -> np.ndarray:
        value = found.get(name, [])
        if not isinstance(value, list) or not all(isinstance(v, kind) for v in value):
            call.fail(f"attribute {name} is not a list of numbers", found=repr(value)[:40])
        if dtype is np.int32 and not all(-(1 << 31) <= v < 1 << 31 for v in value):
            call.fail(f"attribute {name} holds numbers of more than 32 bits")
        return np.array(value, dtype)

    return rule


def _type(name: str, default: str) -> Rule:
    def rule(call: Call, found: Attributes) -> str:
        value = found.get(name)
        if value is not None and not isinstance(value, TFType):
            call.fail(f"attribute {name} is not a known type", found=repr(value)[:40])
        return default if value is None else value.name

    return rule


def _word(name: str, default: str) -> Rule:
    def rule(call: Call, found: Attributes) -> str:
        value = found.get(name, default)
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        if not isinstance(value, str):
            call.fail(f"attribute {name} is not a string", found=repr(value)[:40])
        return value

    return rule


def _window(name: str, position: int) -> Rule:
    """One number of a window or its strides, [1, height, width, 1] with channels last."""

    def rule(call: Call, found: Attributes) -> int:
        values = _list(name, int, np.int32)(call, found)
        if values.shape != (4,) or values[0] != 1 or values[3] != 1:
            call.unsupported(f"attribute {name} is {values.tolist()}, not 1, height, width, 1")
        return int(values[position])

    return rule


def _fixed(value: Any) -> Rule:
    return lambda call, found: value


def _output_type(call: Call, found: Attributes) -> str:
    return call.output().dtype.name


_KEEP_DIMS = {"keep_dims": _flag("keep_dims")}
_POOL = {
    "padding": _word("padding", "SAME"),
    "filter_height": _window("ksize", 1),
    "filter_width": _window("ksize", 2),
    "stride_h": _window("strides", 1),
    "stride_w": _window("strides", 2),
}
_RESIZE = {
    "align_corners": _flag("align_corners"),
    "half_pixel_centers": _flag("half_pixel_centers"),
}
_INDEX = {"output_type": _output_type}
_BLOCK = {"block_size": _integer("block_size")}
_PARTS = {"num_splits": _integer("num_split")}
_SEEDS = {"seed": _integer("seed", bits=64), "seed2": _integer("seed2", bits=64)}
_ADJOINT = {"adj_x": _flag("adj_x"), "adj_y": _flag("adj_y")}
# Options of the twin that follow from attributes; the others have the schema's defaults.
_OPTIONS: dict[str, Mapping[str, Rule]] = {
    **dict.fromkeys(("Sum", "Mean", "Prod", "Max", "Min", "Any", "All"), _KEEP_DIMS),
    **dict.fromkeys(("ArgMax", "ArgMin"), _INDEX),
    **dict.fromkeys(("MaxPool", "AvgPool"), _POOL),
    **dict.fromkeys(("ResizeBilinear", "ResizeNearestNeighbor"), _RESIZE),
    **dict.fromkeys(("BatchMatMul", "BatchMatMulV2", "BatchMatMulV3"), _ADJOINT),
    **dict.fromkeys(("SpaceToDepth", "DepthToSpace"), _BLOCK),
    **dict.fromkeys(("Split", "SplitV"), _PARTS),
    **dict.fromkeys(("Multinomial", "RandomUniform", "RandomStandardNormal"), _SEEDS),
    "MatMul": {"adj_x": _flag("transpose_a"), "adj_y": _flag("transpose_b")},
    "Cast": {"out_data_type": _type("DstT", "FLOAT32"), "in_data_type": _type("SrcT", "FLOAT32")},
    "Shape": {"out_type": _type("out_type", "INT32")},
    "Squeeze": {"squeeze_dims": _list("squeeze_dims", int, np.int32)},
    "Pack": {"values_count": _integer("N"), "axis": _integer("axis")},
    "Unpack": {"num": _integer("num"), "axis": _integer("axis")},
    "LeakyRelu": {"alpha": _number("alpha", 0.2)},
    "Softmax": {"beta": _fixed(1.0)},
    "ReverseSequence": {
        "seq_dim": _integer("seq_dim"),
        "batch_dim": _integer("batch_dim"),
    },
    "OneHot": {"axis": _integer("axis", -1)},
    "Unique": {"idx_out_type": _type("out_idx", "INT32")},
    "StridedSlice": {
        f"{part}_mask": _integer(f"{part}_mask")
        for part in ("begin", "end", "ellipsis", "new_axis", "shrink_axis")
    },
    "GatherV2": {"batch_dims": _integer("batch_dims")},
    "MirrorPad": {"mode": _word("mode", "REFLECT")},
    "Cumsum": {"exclusive": _flag("exclusive"), "reverse": _flag("reverse")},
    "Bucketize": {"boundaries": _list("boundaries", float, np.float32)},
    "SparseToDense": {"validate_indices": _flag("validate_indices", True)},
    "FakeQuantWithMinMaxArgs": {
        "min": _number("min", -6.0),
        "max": _number("max", 6.0),
        "num_bits": _integer("num_bits", 8),
        "narrow_range": _flag("narrow_range"),
    },
}
# Which input of TensorFlow's operator becomes the option `axis`.
_AXIS_INPUT = {"ConcatV2": -1, "Concat": 0, "GatherV2": 2}
_TWINS = {
    "Add": "ADD", "AddV2": "ADD", "BiasAdd": "ADD", "RealDiv": "DIV", "Sigmoid": "LOGISTIC",
    "BatchMatMul": "BATCH_MATMUL", "BatchMatMulV2": "BATCH_MATMUL",
    "BatchMatMulV3": "BATCH_MATMUL", "MatMul": "BATCH_MATMUL", "ConcatV2": "CONCATENATION",
    "Concat": "CONCATENATION", "GatherV2": "GATHER", "MaxPool": "MAX_POOL_2D",
    "AvgPool": "AVERAGE_POOL_2D", "Prod": "REDUCE_PROD", "Max": "REDUCE_MAX",
    "Min": "REDUCE_MIN", "Any": "REDUCE_ANY", "All": "REDUCE_ALL", "PadV2": "PADV2",
    "FakeQuantWithMinMaxArgs": "FAKE_QUANT", "BatchToSpaceND": "BATCH_TO_SPACE_ND",
    "SpaceToBatchND": "SPACE_TO_BATCH_ND", "RFFT2D": "RFFT2D", "TopKV2": "TOPK_V2",
    "Relu6": "RELU6", "SelectV2": "SELECT_V2", "ReverseV2": "REVERSE_V2",
}  # fmt: skip
# Names that differ in spelling only: TensorFlow's AddN is ADD_N.
_SPELT_ALIKE = (
    "Abs AddN ArgMax ArgMin Atan2 BitwiseXor BroadcastArgs BroadcastTo Bucketize Cast Ceil "
    "ComplexAbs Cos Cumsum DepthToSpace Div Elu Equal Exp ExpandDims Fill Floor FloorDiv "
    "FloorMod Gather GatherNd Greater GreaterEqual Imag LeakyRelu Less LessEqual Log LogSoftmax "
    "LogicalAnd LogicalNot LogicalOr MatrixDiag MatrixSetDiag Maximum Mean Minimum MirrorPad Mul "
    "Multinomial Neg NotEqual OneHot Pack Pad Pow RandomStandardNormal RandomUniform Range Rank "
    "Real Relu Reshape ResizeBilinear ResizeNearestNeighbor ReverseSequence RightShift Round "
    "Rsqrt ScatterNd SegmentSum Select Shape Sign Sin Slice Softmax SpaceToDepth SparseToDense "
    "Split SplitV Sqrt Square SquaredDifference Squeeze StridedSlice Sub Sum Tanh Tile Transpose "
    "Unique Unpack UnsortedSegmentMax UnsortedSegmentMin UnsortedSegmentProd UnsortedSegmentSum "
    "Where ZerosLike"
)


def _upper(name: str) -> str:
    """`AddN` -> `ADD_N`."""
    return "".join(f"_{c}" if c.isupper() and i else c for i, c in enumerate(name)).upper()


_TWINS |= {name: _upper(name) for name in _SPELT_ALIKE.split()}


def _twin(call: Call) -> tuple[Operator, Call] | None:
    """The twin, and the call as the twin sees it; None while an axis is not known yet."""
    name = call.op.removeprefix("Flex")
    operator = lookup(_TWINS[name], False)
    if operator is None:
        call.unsupported(f"{call.op} would run as {_TWINS[name]}, which is not supported")
    found = attributes(call)
    layout = found.get("data_format", b"NHWC")
    if layout != b"NHWC":
        call.unsupported(f"{call.op} with data in another order than NHWC: {layout!r}")
    options = {key: rule(call, found) for key, rule in _OPTIONS.get(name, {}).items()}
    inputs = list(range(call.inputs))
    if name in _AXIS_INPUT:
        if not -call.inputs <= _AXIS_INPUT[name] < call.inputs:
            call.fail(f"{call.op} has too few inputs", found=str(call.inputs))
        moved = inputs.pop(_AXIS_INPUT[name])
        call.check_dtype(moved, DType.INT32, DType.INT64)
        axis = call.value(moved)
        if axis is None:
            return None
        call.check(axis.size == 1, "the axis is not one number", found=str(list(axis.shape)))
        options["axis"] = int(np.clip(axis.item(), -(1 << 31), (1 << 31) - 1))
    low, high = operator.inputs
    if len(inputs) < low or (high is not None and len(inputs) > high):
        call.fail(f"{call.op} has the wrong number of inputs", f"{low} or more", f"{call.inputs}")
    node = replace(
        call.node,
        op=operator.name,
        custom=False,
        options=options,
        options_type=operator.options,
        version=operator.versions,
        inputs=[call.node.inputs[i] for i in inputs],
    )
    return operator, replace(
        call,
        node=node,
        operator=operator,
        specs=[call.specs[i] for i in inputs],
        values=[call.values[i] for i in inputs],
    )


def _infer(call: Call) -> list[Spec]:
    found = _twin(call)
    if found is None:
        return [Spec(call.output(i).dtype, None) for i in range(call.outputs)]
    operator, twin = found
    return list(operator.infer(twin))


def _evaluate(call: Call, *_: np.ndarray) -> Any:
    found = _twin(call)
    assert found is not None
    operator, twin = found
    return operator.evaluate(twin, *twin.values)


_register: Any = partial(
    register, infer=_infer, evaluate=_evaluate, inputs=(0, None), outputs=(1, None), custom=True
)
for _name in _TWINS:
    _register(f"Flex{_name}", pure=_OPTIONS.get(_name) is not _SEEDS)
