"""`Interpreter`: the order of calls, values, shapes, state and errors of tf.lite.Interpreter."""

import logging
import threading

import numpy as np
import pytest

import martlet
import models
from martlet import ArgumentError, Interpreter, LimitError, MartletError, OpResolverType
from martlet.dtypes import DType
from martlet.graph import Graph, Quantization, Tensor

X = np.array([[1, -2, 3, -4]], np.float32)


def ready(content, **options):
    interpreter = Interpreter(model_content=content, **options)
    interpreter.allocate_tensors()
    return interpreter


def index_of(interpreter, name):
    return next(d["index"] for d in interpreter.get_tensor_details() if d["name"] == name)


@pytest.fixture
def doubling():
    return ready(models.doubling())


# Models ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind", [bytes, bytearray, memoryview, lambda b: np.frombuffer(b, np.uint8)]
)
def test_a_model_comes_as_bytes_of_any_kind(kind):
    assert len(ready(kind(models.doubling())).get_tensor_details()) == 3


@pytest.mark.parametrize("kind", [str, lambda p: p])
def test_a_model_comes_from_a_path(tmp_path, kind):
    path = tmp_path / "model.tflite"
    path.write_bytes(models.doubling())
    interpreter = Interpreter(kind(path))
    interpreter.allocate_tensors()
    assert interpreter.get_input_details()[0]["name"] == "x"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "`model_path` or `model_content` must be specified"),
        ({"model_content": b""}, "`model_path` or `model_content` must be specified"),
        ({"model_path": "m", "model_content": b"x"}, "Can't both provide"),
        ({"model_path": "/no/such.tflite"}, "Could not open '/no/such.tflite'"),
        ({"model_path": 5}, "`model_path` is not a path"),
        ({"model_content": 5}, "`model_content` is not the bytes of a model"),
        ({"model_content": b"not a model at all"}, "TFL3"),
        ({"num_threads": 0}, "num_threads should >= 1"),
        ({"num_threads": "2"}, "type of num_threads should be int"),
        (
            {"experimental_op_resolver_type": "test"},
            "Unrecognized passed in op resolver type: test",
        ),
        ({"experimental_delegates": [object()]}, "no native delegates"),
        ({"memory_limit": -1}, "must be positive"),
        ({"custom_ops": {"Mine": 5}}, "neither a function nor an Operator"),
    ],
)
def test_wrong_constructor_arguments_are_explained(arguments, message):
    if not {"model_path", "model_content"} & set(arguments) and arguments:
        arguments = {"model_content": models.doubling(), **arguments}
    with pytest.raises(MartletError, match=message) as caught:
        Interpreter(**arguments)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, RuntimeError)


def test_a_file_that_changes_before_it_is_planned_is_refused(tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(models.doubling())
    interpreter = Interpreter(path)
    with open(path, "ab") as file:
        file.write(b"more")
    with pytest.raises(MartletError, match="changed after it was opened"):
        interpreter.allocate_tensors()


# Order of calls -------------------------------------------------------------------------------


@pytest.mark.parametrize("resolver", OpResolverType)
def test_set_invoke_get(resolver):
    interpreter = ready(models.doubling(), experimental_op_resolver_type=resolver)
    interpreter.set_tensor(0, X)
    interpreter.invoke()
    assert interpreter.get_tensor(2).tolist() == [[2, -2, 6, -4]]


def test_before_allocation_there_are_details_but_no_values():
    interpreter = Interpreter(model_content=models.doubling())
    assert interpreter.get_input_details()[0]["shape"].tolist() == [1, 4]
    for i in (0, 2):
        with pytest.raises(ValueError, match=r"Tensor data is null.*allocate_tensors\(\) first"):
            interpreter.get_tensor(i)
    with pytest.raises(ValueError, match="Cannot set tensor: Tensor is unallocated"):
        interpreter.set_tensor(0, X)
    with pytest.raises(RuntimeError, match="Invoke called on model that is not ready"):
        interpreter.invoke()


def test_inputs_never_set_are_zeros_and_empty_strings(doubling):
    doubling.invoke()
    assert doubling.get_tensor(2).tolist() == [[0, 0, 0, 0]]
    strings = ready(models.reshaping(DType.STRING))
    assert strings.get_tensor(0).tolist() == [[b"", b""], [b"", b""]]


def test_allocating_again_changes_nothing(doubling):
    doubling.set_tensor(0, X)
    doubling.allocate_tensors()
    assert doubling.get_tensor(0).tolist() == X.tolist()


def test_get_tensor_gives_a_copy(doubling):
    copy = doubling.get_tensor(0)
    copy[:] = 9
    assert type(copy) is np.ndarray
    assert not doubling.get_tensor(0).any()


def test_a_value_without_dimensions_is_a_scalar():
    interpreter = ready(models.doubling(()))
    interpreter.set_tensor(0, np.float32(3))
    interpreter.invoke()
    assert isinstance(interpreter.get_tensor(2), np.float32)
    assert interpreter.get_tensor(2) == 6


def test_empty_arrays_run():
    interpreter = ready(models.doubling((0, 4)))
    interpreter.invoke()
    assert interpreter.get_tensor(2).shape == (0, 4)


# Shapes ---------------------------------------------------------------------------------------


def test_a_resized_input_must_be_allocated_again(doubling):
    doubling.resize_tensor_input(0, [2, 4])
    assert doubling.get_input_details()[0]["shape"].tolist() == [2, 4]
    with pytest.raises(RuntimeError, match="not ready"):
        doubling.invoke()
    doubling.allocate_tensors()
    doubling.set_tensor(0, np.ones((2, 4), np.float32))
    doubling.invoke()
    assert doubling.get_output_details()[0]["shape"].tolist() == [2, 4]
    assert doubling.get_tensor(2).tolist() == [[2] * 4] * 2


def test_resizing_to_the_same_shape_keeps_the_values(doubling):
    doubling.set_tensor(0, X)
    doubling.resize_tensor_input(0, (1, 4))
    doubling.invoke()
    assert doubling.get_tensor(2).tolist() == [[2, -2, 6, -4]]


def test_strict_resizing_changes_unknown_sizes_only():
    interpreter = Interpreter(model_content=models.doubling((-1, 4)))
    interpreter.resize_tensor_input(0, [7, 4], strict=True)
    assert interpreter.get_input_details()[0]["shape_signature"].tolist() == [-1, 4]
    for shape in ([7, 5], [7, 4, 1]):
        with pytest.raises(
            RuntimeError, match=r"only allows mutating unknown dimensions.*\[-1, 4\]"
        ):
            interpreter.resize_tensor_input(0, shape, strict=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((9, [1]), "Invalid tensor index 9 exceeds max tensor index 3"),
        ((-1, [1]), "Invalid tensor index -1"),
        (("x", [1]), "not a whole number"),
        ((1, [1]), "no input"),
        ((0, 4), "Shape should be 1D instead of 0"),
        ((0, [[1]]), "Shape should be 1D instead of 2"),
        ((0, [-1, 4]), "is not a shape"),
        ((0, [2**40]), "is not a shape"),
        ((0, ["a"]), "is not a list of sizes"),
        ((0, [float("nan")]), "is not a list of sizes"),
    ],
)
def test_wrong_shapes_are_explained(doubling, arguments, message):
    with pytest.raises(ArgumentError, match=message):
        doubling.resize_tensor_input(*arguments)
    doubling.invoke()  # and nothing happened


def test_constants_cannot_be_resized():
    with pytest.raises(RuntimeError, match="Attempting to resize a fixed-size tensor"):
        Interpreter(model_content=models.quantized()).resize_tensor_input(1, [1])


def test_outputs_whose_shape_depends_on_data_take_shape_in_the_run():
    interpreter = ready(models.reshaping())
    with pytest.raises(ValueError, match=r"Tensor data is null.*call invoke\(\) first"):
        interpreter.get_tensor(2)
    for shape in ([4, 1], [1, 4]):
        interpreter.set_tensor(1, np.array(shape, np.int32))
        interpreter.invoke()
        assert interpreter.get_tensor(2).shape == tuple(shape)
        assert interpreter.get_output_details()[0]["shape"].tolist() == shape


# Values ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            (0, X.astype(np.float64)),
            r"Cannot set tensor: .*expected FLOAT32, found FLOAT64.*float32",
        ),
        ((0, X.tolist()), "expected FLOAT32, found FLOAT64"),
        ((0, X[0]), r"Dimension mismatch.*expected \[1, 4\], found \[4\]"),
        ((0, np.ones((2, 4), np.float32)), r"Dimension mismatch.*found \[2, 4\]"),
        ((0, [[1], [2, 3]]), "Failed to convert the value"),
        ((2, X), "not an input"),
        ((3, X), "Invalid tensor index 3 exceeds max tensor index 3"),
        ((None, X), "not a whole number"),
    ],
)
def test_wrong_values_are_explained(doubling, arguments, message):
    with pytest.raises(ArgumentError, match=message):
        doubling.set_tensor(*arguments)


@pytest.mark.parametrize("arguments", [(0, 5), (0, "x")])
def test_wrong_subgraphs_are_explained(doubling, arguments):
    with pytest.raises(ArgumentError, match="Invalid subgraph index"):
        doubling.get_tensor(*arguments)


def test_numpy_integers_are_indices_and_byte_order_does_not_matter(doubling):
    doubling.set_tensor(np.int64(0), X.astype(">f4"))
    assert doubling.get_tensor(np.int32(0)).tolist() == X.tolist()


@pytest.mark.parametrize(
    "value",
    [
        np.array([["a", "é"], ["", "d"]]),
        np.array([["a", "é"], ["", b"d"]], object),
        [[b"a", "é"], ["", "d"]],
    ],
)
def test_strings_come_as_text_or_bytes_and_go_as_bytes(value):
    interpreter = ready(models.reshaping(DType.STRING))
    interpreter.set_tensor(0, value)
    interpreter.set_tensor(1, np.array([4, 1], np.int32))
    interpreter.invoke()
    assert interpreter.get_tensor(2).tolist() == [[b"a"], ["é".encode()], [b""], [b"d"]]


def test_strings_may_be_set_before_allocation():
    interpreter = Interpreter(model_content=models.reshaping(DType.STRING))
    interpreter.set_tensor(0, np.array([["a", "b"], ["c", "d"]]))
    interpreter.allocate_tensors()
    assert interpreter.get_tensor(0).tolist() == [[b"a", b"b"], [b"c", b"d"]]


def test_other_things_are_no_strings():
    interpreter = ready(models.reshaping(DType.STRING))
    with pytest.raises(ArgumentError, match=r"expected strings \(bytes or str\), found FLOAT32"):
        interpreter.set_tensor(0, np.zeros((2, 2), np.float32))
    with pytest.raises(ArgumentError, match="expected bytes or str, found int"):
        interpreter.set_tensor(0, np.full((2, 2), 5, object))


def test_constants_can_be_read_at_any_time():
    weights = Interpreter(model_content=models.quantized()).get_tensor(1)
    assert weights.tolist() == [[1, 2], [3, 4]]
    assert weights.dtype == np.int8


def test_intermediate_values_are_kept_on_request():
    interpreter = ready(models.doubling())
    interpreter.invoke()
    with pytest.raises(ValueError, match=r"name: hidden.*experimental_preserve_all_tensors=True"):
        interpreter.get_tensor(index_of(interpreter, "hidden"))
    interpreter = ready(models.doubling(), experimental_preserve_all_tensors=True)
    hidden = index_of(interpreter, "hidden")
    with pytest.raises(ValueError, match="not computed yet"):
        interpreter.get_tensor(hidden)
    interpreter.set_tensor(0, X)
    interpreter.invoke()
    interpreter.set_tensor(0, 0 * X)
    assert interpreter.get_tensor(hidden).tolist() == [[2, -4, 6, -8]]


# Views ----------------------------------------------------------------------------------------


def test_views_read_and_write_in_place(doubling):
    source, result = doubling.tensor(0), doubling.tensor(2)
    for value in (1, 2):
        source().fill(value)
        doubling.invoke()
        assert result().tolist() == [[2 * value] * 4]


@pytest.mark.parametrize("part", [lambda v: v, lambda v: v[0, 1:], lambda v: v.T.reshape(2, 2)])
def test_while_a_view_is_held_memory_cannot_move(doubling, part):
    held = part(doubling.tensor(0)())
    for call in (
        doubling.invoke,
        doubling.allocate_tensors,
        lambda: doubling.resize_tensor_input(0, [2, 4]),
    ):
        with pytest.raises(RuntimeError, match="There is at least 1 reference to internal data"):
            call()
    assert not doubling._safe_to_run()
    doubling.set_tensor(0, X)  # copies are no danger
    assert held.size
    del held
    assert doubling._safe_to_run()
    doubling.resize_tensor_input(0, [2, 4])


def test_constants_are_seen_but_not_written_through_views():
    view = ready(models.quantized()).tensor(1)()
    with pytest.raises(ValueError, match="read-only"):
        view[:] = 0


# State ----------------------------------------------------------------------------------------


def test_resource_variables_persist_between_runs():
    interpreter = ready(models.counter())
    interpreter.set_tensor(0, np.float32(2))
    values = []
    for _ in range(3):
        interpreter.invoke()
        values.append(float(interpreter.get_tensor(interpreter.get_output_details()[0]["index"])))
        interpreter.set_tensor(0, np.float32(10))
    assert values == [2, 12, 22]


def test_interpreters_share_no_state():
    for _ in range(2):
        interpreter = ready(models.counter())
        interpreter.set_tensor(0, np.float32(2))
        interpreter.invoke()
        assert interpreter.get_tensor(interpreter.get_output_details()[0]["index"]) == 2


# Limits, threads, interruption ----------------------------------------------------------------


def test_sizes_past_the_memory_limit_are_refused_before_anything_is_allocated(monkeypatch):
    interpreter = Interpreter(model_content=models.doubling(), memory_limit=1e6)
    interpreter.resize_tensor_input(0, [1000, 1000])
    with pytest.raises(LimitError, match=r"at most 1,000,000 bytes.*memory_limit="):
        interpreter.allocate_tensors()
    monkeypatch.setenv("MARTLET_MEMORY_LIMIT", "100")
    with pytest.raises(LimitError, match="MARTLET_MEMORY_LIMIT"):
        ready(models.doubling((100,)))


def test_values_that_are_all_kept_count_against_the_memory_limit():
    graph = Graph()
    y = graph.input("x", (1000,))
    for _ in range(20):
        y = graph.add("NEG", [y])
    graph.output(y)
    content = models.to_bytes(graph)
    ready(content, memory_limit=30_000).invoke()
    with pytest.raises(LimitError, match="memory"):
        ready(content, memory_limit=30_000, experimental_preserve_all_tensors=True).invoke()


def test_constants_that_share_bytes_count_each_for_itself_once_expanded():
    graph = Graph()
    raw = np.zeros(5000, np.uint8)
    for i in range(20):
        graph.tensor(Tensor(f"c{i}", (10_000,), DType.INT4, raw=raw))
    graph.output(graph.add("NEG", [graph.input("x", (2,))]))
    content = models.to_bytes(graph)
    assert len(content) < 10_000
    ready(content, memory_limit=300_000)
    with pytest.raises(LimitError, match="memory"):
        ready(content, memory_limit=100_000)


def test_a_graph_may_have_no_tensors():
    interpreter = ready(models.to_bytes(Graph(inputs=[-1])))
    interpreter.invoke()
    assert interpreter.get_input_details() == interpreter.get_output_details() == []


def test_folded_results_count_against_the_memory_limit():
    graph = Graph()
    one = Quantization(np.ones(1, np.float32), np.zeros(1, np.int64))
    stored = graph.constant(np.zeros(10_000, np.int8), quantization=one)
    for i in range(20):
        graph.add("DEQUANTIZE", [stored], outputs=[Tensor(f"w{i}", (10_000,))])
    graph.output(graph.add("NEG", [graph.input("x", (2,))]))
    content = models.to_bytes(graph)
    ready(content, memory_limit=1e6)
    with pytest.raises(LimitError, match="memory"):
        ready(content, memory_limit=5e5)


def test_shapes_of_many_terabytes_are_refused_by_default():
    interpreter = Interpreter(model_content=models.doubling())
    interpreter.resize_tensor_input(0, [2**31 - 1, 2**20])
    with pytest.raises(LimitError):
        interpreter.allocate_tensors()


def test_a_run_past_the_time_limit_ends(monkeypatch):
    monkeypatch.setenv("MARTLET_TIME_LIMIT", "1e-9")
    interpreter = ready(models.doubling((50, 50)))
    with pytest.raises(LimitError, match=r"time_limit="):
        interpreter.invoke()


def test_the_clock_starts_anew_with_every_call():
    interpreter = ready(models.doubling(), time_limit=60)
    interpreter._session._deadline = 0.0
    interpreter.resize_tensor_input(0, [3, 4])
    interpreter.allocate_tensors()
    interpreter.invoke()


def test_threads_take_turns():
    content, errors = models.doubling((64, 64)), []
    interpreter = ready(content)

    def work(value):
        runner_input = np.full((64, 64), value, np.float32)
        for _ in range(30):
            try:
                (result,) = interpreter._run_graph(0, {0: runner_input}, [2])
                assert (result == 2 * value).all()
            except Exception as error:
                errors.append(error)

    threads = [threading.Thread(target=work, args=(value,)) for value in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_ctrl_c_ends_a_run_and_the_interpreter_lives_on():
    presses = [KeyboardInterrupt()]

    def pressed(x):
        if presses:
            raise presses.pop()
        return x[:1]

    interpreter = ready(models.custom(), custom_ops={"Mine": pressed})
    with pytest.raises(KeyboardInterrupt):
        interpreter.invoke()
    interpreter.invoke()
    assert interpreter.get_tensor(1).tolist() == [0]


# The rest of the interface --------------------------------------------------------------------


@pytest.mark.parametrize("library", ["libedgetpu.so.1", "/usr/lib/libnothing.so"])
def test_a_native_delegate_is_refused_with_advice(library):
    for load in (martlet.load_delegate, martlet.Delegate):
        with pytest.raises(ValueError, match=f"Failed to load delegate from {library}") as caught:
            load(library, {"device": "usb"})
        assert isinstance(caught.value, OSError)
        assert "Leave out experimental_delegates" in str(caught.value)
    assert ("not compiled for the Edge TPU" in str(caught.value)) == ("edgetpu" in library)


def test_native_registerers_are_not_needed():
    interpreter = martlet.InterpreterWithCustomOps(
        custom_op_registerers=["TF_TestRegisterer"], model_content=models.doubling()
    )
    interpreter.allocate_tensors()


def test_martlet_is_silent_unless_asked(capfd, caplog):
    with caplog.at_level(logging.DEBUG, "martlet"):
        ready(models.doubling()).invoke()
    assert "planned 2 steps" in caplog.text
    assert capfd.readouterr() == ("", "")
