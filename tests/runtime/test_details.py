"""Details, op lists and signatures are LiteRT's, key by key and type by type."""

import numpy as np
import pytest
from ai_edge_litert import interpreter as litert

import martlet
import models
from corpus import cases
from martlet.dtypes import DType
from martlet.graph import Graph, Quantization, Tensor

# Where these run, TensorFlow Lite learns the shape of the result in the first run; Martlet knows
# it when it plans, if the inputs are constants.
KNOWN_EARLIER = {"SEGMENT_SUM", "HASHTABLE_FIND"}
# TensorFlow Lite forgets the shape signature of this result.
FORGOTTEN = {"TILE"}
# Loops whose variables grow: TensorFlow Lite tells a size for the body and not for the condition.
GROWING = "tensor_list_dynamic_shape"
SMALL = 300_000  # bytes; larger models are compared without a run


def pair(**source):
    """LiteRT's interpreter and Martlet's for a model."""
    reference = litert.OpResolverType.BUILTIN_REF
    try:
        theirs = litert.Interpreter(**source, experimental_op_resolver_type=reference)
    except ValueError:  # a few operators have no reference kernel
        plain = litert.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        theirs = litert.Interpreter(**source, experimental_op_resolver_type=plain)
    return theirs, martlet.Interpreter(**source)


def same(a, b):
    """Equal in value and type, to the last array."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    return a == b


def differences(theirs, ours, ignore=()):
    """Which details differ. Unnamed scratch tensors of LiteRT's kernels are none of ours."""
    found = []

    def compare(what, a, b):
        for key in a:
            if key not in ignore and not same(a[key], b[key]):
                found.append(f"{what}: {key} is {b[key]}, should be {a[key]}")
        if list(a) != list(b):
            found.append(f"{what}: keys {list(b)}, should be {list(a)}")

    for side in ("input", "output"):
        listed = [getattr(i, f"get_{side}_details")() for i in (theirs, ours)]
        for a, b in zip(*listed, strict=True):
            compare(f"{side} {a['index']}", a, b)
    for graph in range(theirs.num_subgraphs()):
        tensors = ours.get_tensor_details(graph)
        for a, b in zip(theirs.get_tensor_details(graph), tensors, strict=False):
            compare(f"graph {graph}, tensor {a['index']}", a, b)
    for a, b in zip(theirs._get_ops_details(), ours._get_ops_details(), strict=True):
        compare(f"node {a['index']}", a, b)
    for method in ("get_signature_list", "_get_full_signature_list", "num_subgraphs"):
        a, b = getattr(theirs, method)(), getattr(ours, method)()
        if not same(a, b):
            found.append(f"{method}: {b}, should be {a}")
    return found


@pytest.mark.parametrize(
    "model",
    [models.doubling, models.reshaping, models.quantized, models.signatures, models.counter],
)
def test_small_models(model):
    theirs, ours = pair(model_content=model())
    assert differences(theirs, ours) == []
    for interpreter in (theirs, ours):
        interpreter.allocate_tensors()
    assert differences(theirs, ours) == []


@pytest.mark.parametrize("dtype", [d for d in DType if d.supported and d is not DType.RESOURCE])
def test_every_type(dtype):
    theirs, ours = pair(model_content=models.doubling((2, -1), dtype))
    assert differences(theirs, ours) == []


def test_per_channel_parameters():
    weights = martlet.Interpreter(model_content=models.quantized()).get_tensor_details()[1]
    assert weights["quantization"] == (0.0, 0)
    parameters = weights["quantization_parameters"]
    assert parameters["scales"].tolist() == [0.25, 0.125]
    assert parameters["zero_points"].tolist() == [0, 0]
    assert parameters["quantized_dimension"] == 0


@pytest.mark.parametrize("compress", [False, True])
def test_equal_zero_points_can_be_given_as_one(compress):
    graph = Graph()
    scales = Quantization.of([1.0, 2.0], 3, axis=1)
    x = graph.tensor(Tensor("x", (1, 2), DType.INT8, scales))
    graph.inputs = graph.outputs = [x]
    content = models.to_bytes(graph)
    option = {"experimental_compress_quantization_zero_points": compress}
    theirs, ours = (
        litert.Interpreter(model_content=content, **option),
        martlet.Interpreter(model_content=content, **option),
    )
    assert differences(theirs, ours) == []


def test_wrong_indices_are_litert_s_errors():
    for interpreter in pair(model_content=models.doubling()):
        with pytest.raises(ValueError, match="Invalid tensor index 4 exceeds max tensor index 3"):
            interpreter._get_tensor_details(4, 0)
        with pytest.raises(ValueError, match="Invalid node index"):
            interpreter._get_op_details(4)
        for graph in (1, -1):
            with pytest.raises(ValueError, match="subgraph_index is out of range"):
                interpreter.get_tensor_details(subgraph_index=graph)


def groups():
    """The corpus in a few groups, so that a failure names a small one."""
    chosen = [c for c in cases() if c.part != "micro"]
    return [pytest.param(chosen[i::8], id=f"group{i}") for i in range(8)] if chosen else []


@pytest.mark.parametrize("group", groups())
def test_the_corpus(group):
    """New, allocated, and (small models) after a run on the inputs of the case."""
    found = []
    for case in group:
        theirs, ours = pair(model_path=str(case.path))
        stages = [("new", differences(theirs, ours))]
        # An arena of many gigabytes is no matter of details.
        if case.name.startswith("matrix_band_part__0_91c375ac"):
            continue
        growing = case.name.startswith(GROWING)
        early = growing or KNOWN_EARLIER & {*case.ops}
        ignore = {"shape", "shape_signature"} if early else set()
        for interpreter in (theirs, ours):
            interpreter.allocate_tensors()
        stages.append(("allocated", differences(theirs, ours, ignore)))
        if case.path.stat().st_size < SMALL:
            forgotten = FORGOTTEN & {*case.ops}
            ignore = {"shape"} if growing else {"shape_signature"} if forgotten else set()
            for interpreter in (theirs, ours):
                run_on_answers(interpreter, case.answers)
            stages.append(("run", differences(theirs, ours, ignore)))
        found += [f"{case.name}, {stage}: {d}" for stage, ds in stages for d in ds]
    assert found == []


def run_on_answers(interpreter, answers):
    inputs = interpreter.get_input_details()
    given = [(d["index"], answers[f"in{k}"]) for k, d in enumerate(inputs) if f"in{k}" in answers]
    for index, value in given:
        interpreter.resize_tensor_input(index, value.shape)
    interpreter.allocate_tensors()
    for index, value in given:
        interpreter.set_tensor(index, value)
    interpreter.invoke()


@pytest.mark.parametrize("name", ["while__loop__f32", "0d6f3996_rope", "add__same__int8"])
def test_every_kept_tensor_has_litert_s_value(name):
    for case in [c for c in cases() if c.name == name]:
        keep = {"experimental_preserve_all_tensors": True}
        reference = litert.OpResolverType.BUILTIN_REF
        theirs = litert.Interpreter(str(case.path), experimental_op_resolver_type=reference, **keep)
        ours = martlet.Interpreter(str(case.path), **keep)
        for interpreter in (theirs, ours):
            run_on_answers(interpreter, case.answers)
        for detail in ours.get_tensor_details():
            try:
                value = theirs.get_tensor(detail["index"])
            except ValueError:
                continue  # struck out by WHILE: LiteRT never computes it
            np.testing.assert_allclose(ours.get_tensor(detail["index"]), value, 1e-4, 1e-5)
