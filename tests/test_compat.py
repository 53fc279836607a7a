"""Stand-in modules: what programs written for TensorFlow Lite import is Martlet.

Each test runs a small program in a Python of its own, where nothing is imported yet.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def python(*arguments, path=(), **files):
    """Run Python on the arguments; returns what it prints. It must succeed."""
    extra = os.pathsep.join(map(str, path))
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": extra},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def after_import(program, path=()):
    return python("-c", f"import martlet.compat\n{program}", path=path)


@pytest.mark.parametrize(
    "statement",
    [
        "from tflite_runtime.interpreter import Interpreter",
        "import tflite_runtime.interpreter as tflite; Interpreter = tflite.Interpreter",
        "from ai_edge_litert.interpreter import Interpreter",
        "from ai_edge_litert.interpreter import Interpreter, load_delegate, Delegate",
        "import tensorflow as tf; Interpreter = tf.lite.Interpreter",
        "import tensorflow.lite as tflite; Interpreter = tflite.Interpreter",
        "from tensorflow import lite; Interpreter = lite.Interpreter",
        "from tensorflow.lite.python.interpreter import Interpreter, load_delegate",
        "import importlib as i; Interpreter = i.import_module('tensorflow.lite').Interpreter",
    ],
)
def test_every_way_to_import_the_interpreter_gives_martlet_s(statement):
    program = f"import martlet\n{statement}\nprint(Interpreter is martlet.Interpreter)"
    assert after_import(program) == "True"


def test_the_experimental_names_of_tensorflow_are_there():
    program = (
        "import tensorflow as tf; e = tf.lite.experimental; print(e.OpResolverType.AUTO.value)"
    )
    assert after_import(program) == "0"


def test_modules_imported_before_become_martlet_s():
    program = (
        "import ai_edge_litert.interpreter\nimport martlet, martlet.compat\n"
        "print(ai_edge_litert.interpreter.Interpreter is martlet.Interpreter)"
    )
    assert python("-c", program) == "True"


def test_the_rest_of_an_installed_package_stays():
    program = "import ai_edge_litert.schema_py_generated as s; print('Martlet' in str(s.__doc__))"
    assert after_import(program) == "False"


def test_an_installed_tensorflow_is_left_alone(tmp_path):
    package = tmp_path / "tensorflow"
    (package / "lite").mkdir(parents=True)
    (package / "__init__.py").write_text("name = 'the real one'")
    (package / "lite" / "__init__.py").write_text("")
    program = (
        "import tensorflow.lite; print(tensorflow.name, hasattr(tensorflow.lite, 'Interpreter'))"
    )
    assert after_import(program, path=[tmp_path]) == "the real one False"


def test_a_library_that_looks_whether_tensorflow_is_there_finds_that_it_is_not(tmp_path):
    (tmp_path / "library.py").write_text(
        "try:\n    import tensorflow\n    there = True\nexcept ImportError:\n    there = False\n"
    )
    assert after_import("import library; print(library.there)", path=[tmp_path]) == "False"


def test_a_library_that_uses_tensorflow_lite_finds_it(tmp_path):
    (tmp_path / "library.py").write_text(
        "def make():\n    import tensorflow as tf\n    return tf.lite.Interpreter\n"
    )
    program = "import library; print(library.make().__module__)"
    assert after_import(program, path=[tmp_path]) == "martlet.runtime.interpreter"


def test_the_stand_in_says_what_it_is_not():
    program = (
        "import tensorflow as tf\n"
        "try:\n    tf.keras\nexcept AttributeError as error:\n    print(error)"
    )
    assert "Martlet's stand-in, which has the Interpreter alone" in after_import(program)


def test_without_the_import_nothing_is_changed():
    program = "import martlet, importlib.util as u; print(u.find_spec('tflite_runtime'))"
    assert python("-c", program) == "None"


PROGRAM = """
import sys
from tflite_runtime.interpreter import Interpreter
import neighbour
print(__name__, Interpreter.__module__, *sys.argv[1:], neighbour.__name__)
"""


def test_a_program_runs_untouched(tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "neighbour.py").write_text("")
    printed = python("-m", "martlet.compat", tmp_path / "program.py", "a", "-b")
    assert printed == "__main__ martlet.runtime.interpreter a -b neighbour"


def test_a_module_runs_untouched(tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "neighbour.py").write_text("")
    printed = python("-m", "martlet.compat", "-m", "program", "x", path=[tmp_path])
    assert printed == "__main__ martlet.runtime.interpreter x neighbour"


def test_a_program_that_is_not_there_is_named():
    command = [sys.executable, "-m", "martlet.compat", "no-such-program"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "there is no program 'no-such-program'" in done.stderr


def test_importing_martlet_is_light():
    program = "import sys, martlet; print('numpy' in sys.modules, martlet.Interpreter.__name__)"
    assert python("-c", program) == "False Interpreter"
