"""Real files that LiteRT 2.3.0 refuses, dies on or never finishes on random inputs.

What has a public meaning runs; the rest is refused with an error that says why. Inputs are ones
and "Hello the World", unless a file needs others.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from corpus import ROOT
from martlet.errors import MartletError
from martlet.runtime.interpreter import Interpreter

FOLDER = ROOT / "peer_cannot"
pytestmark = pytest.mark.skipif(not FOLDER.exists(), reason="the corpus is not here")

# Shapes of the outputs, or their values where they are easily told.
RUNS: dict[str, list[Any]] = {
    "2438205b_whitespace_tokenizer_to_ragged_2d_input": [
        [b"Hello", b"the", b"World"], [0, 1], [0, 3],
    ],
    "264f7de8_string_input_flex_model": [(1,)],
    "35d7921c_simple_topk_op_runtime_k": [[[0]], [[1.0]]],
    "376ebada_sentencepiece_tokenizer_flex_op": [[[151, 88, 21, 7, 4, 321, 54, 31, 17]]],
    "5736564b_posenet_mobilenet_v1_075_721_1281_16_quant_decoder": [
        (1, 20, 17, 2), (1, 20, 17), (1, 20), [0.0],
    ],
    "5dc5ce64_single_rsqrt_default_a16w8_recipe_quantized": [(1, 32, 32)],
    "78334afb_custom_sinh": [[np.sinh(np.float32(1))]],
    "87f74837_simple_ceil_op": [np.ones((1, 128, 1)).tolist()],
    "9b280c0d_dynamic_string_custom_ops": [[b"hello the world"] * 3],
    "9ee168ec_selfie_segmentation": [(1, 256, 256, 1)],
    "9f78e409_simple_floor_mod": [[0] * 5],
    "aa05647f_tile_with_bool_input": [np.ones((2, 2, 2), bool).tolist()],
    "b5a683a9_with_custom_op": [2.0],
    "d0b294c1_bodypix_mobilenet_v1_075_512_512_16_quant_decoder": [
        (1, 20, 17, 2), (1, 20, 17), (1, 20), [0.0], (1, 20, 33, 33), (1, 33, 33, 1),
        (1, 33, 33, 24),
    ],
    "da9f4775_max_unpooling_2d_valid": [(2, 4, 11, 2)],
    "db1b5e8d_posenet_mobilenet_v1_075_353_481_16_quant_decoder": [
        (1, 20, 17, 2), (1, 20, 17), (1, 20), [0.0],
    ],
    "e06a804e_face_landmark_with_attention": [
        (1, 1, 1, 1404), (1, 1, 1, 160), (1, 1, 1, 142), (1, 1, 1, 142), (1, 1, 1, 10),
        (1, 1, 1, 10), (1, 1, 1, 1),
    ],
    "f14ccb88_whitespace_tokenizer_to_ragged_1d_input": [[b"Hello", b"the", b"World"], [0, 3]],
    "f62b2f64_simple_round_op": [np.ones((1, 128, 1)).tolist()],
    "ff89b005_broadcast_to": [np.ones((1, 1, 1, 1, 1, 2, 2)).tolist()],
}  # fmt: skip

COMPILED = "DISPATCH_OP holds code compiled for one accelerator"
STAND_IN = "is a stand-in from another project's tests"
REFUSED = {
    "0bd3b38c_segment_sum_invalid_buffer": "SEGMENT_SUM has the options of another operator",
    "18d37b87_tensor_string_data_type": "has a type that ADD does not take",
    "306234dc_test_model_versioned_ops": "wrong number of dimensions; expected 4, found 1",
    "31c37681_simple_add_op.sm8750": COMPILED,
    "41fd3d49_custom_op": f"CustomTestOp {STAND_IN}",
    "42673a81_test_model_nl_classifier": f"CUSTOM_OP_STRING_TO_FLOATS {STAND_IN}",
    "6f1ca4e2_precompiled_mediatek_model": COMPILED,
    "77cb8571_blockwise_quantized": "'quantized_tensor', is used before it is computed",
    "7a9d0704_0_subgraphs": "No subgraph in the model",
    "7d6fc338_mixed": f"CustomTestOp {STAND_IN}",
    "834b2652_svdf_quantized": "state, input 4 'activation_state4', does not fit",
    "8ad636fd_simple_model_npu_mediatek_mt6989_precompiled": COMPILED,
    "9ab8a7b5_MTKEXT_CONV_2D": "MTKEXT_CONV_2D is a vendor's own operator",
    "a0efd0b1_test_model_nl_classifier_with_associated_label": (
        f"CUSTOM_OP_STRING_TO_FLOATS {STAND_IN}"
    ),
    "a54196c2_lstm_calibrated2": "tensor 23 'output_gate_ln_weights-1': a size is negative",
    "a8d43461_shared_input_cpu_npu_google_tensor_precompiled": COMPILED,
    "ae300b61_simple_add_op_google_tensor_p25_precompiled": COMPILED,
    "d449642e_simple_add_op_qc_v75_precompiled": COMPILED,
    "dfd283e8_simple_squeeze": "squeeze_dims is out of range",
    "f148cddd_test_model": "wrong number of dimensions; expected 4, found 1",
    "f7f0e4d2_lstm_quantized2": "tensor 23 'output_gate_ln_weights-1': a size is negative",
    "f8345684_svdf_calibrated": "state, input 4 'activation_state4', does not fit",
}


def run(name: str) -> list[np.ndarray]:
    interpreter = Interpreter(str(FOLDER / f"{name}.tflite"))
    interpreter.allocate_tensors()
    for detail in interpreter.get_input_details():
        shape = tuple(detail["shape"])
        if detail["dtype"] in (bytes, np.bytes_, np.object_, object):
            value = np.full(shape, b"Hello the World", object)
        else:
            value = np.ones(shape, detail["dtype"])
        interpreter.set_tensor(detail["index"], value)
    interpreter.invoke()
    return [interpreter.get_tensor(d["index"]) for d in interpreter.get_output_details()]


def test_every_file_is_listed_once() -> None:
    files = sorted(path.stem for path in FOLDER.glob("*.tflite"))
    assert sorted([*RUNS, *REFUSED]) == files


@pytest.mark.parametrize("name", RUNS)
def test_files_with_a_meaning_run(name: str) -> None:
    for answer, expected in zip(run(name), RUNS[name], strict=True):
        if isinstance(expected, tuple):
            assert answer.shape == expected
        elif answer.dtype.kind in "OS":
            assert answer.tolist() == expected
        else:
            np.testing.assert_allclose(answer, expected, rtol=1e-6)


@pytest.mark.parametrize("name", REFUSED)
def test_other_files_are_refused_with_the_reason(name: str) -> None:
    with pytest.raises(MartletError) as error:
        run(name)
    assert REFUSED[name] in str(error.value)
    assert name in str(error.value)
