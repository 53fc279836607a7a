"""Which image is used, and what keeps one from being used: each said, none fatal."""

from __future__ import annotations

import ctypes
import errno
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import models
from martlet.errors import MartletError
from martlet.kernels.image import ImageError, pack, parse, source_hash
from martlet.kernels.targets import TARGETS, Target
from martlet.runtime import executable, image_building, image_files
from martlet.runtime import image as images
from martlet.runtime.image import LoadedImage, find_image, host_image, host_targets
from martlet.runtime.threads import Pool
from steps import Steps, build_image

TARGET = host_targets()[0]


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """An image for this machine."""
    path = tmp_path_factory.mktemp("images") / "steps.image"
    build_image(path)
    return path.read_bytes()


@pytest.fixture
def path(data: bytes, tmp_path: Path) -> Path:
    """That image in a file."""
    path = tmp_path / "x.image"
    path.write_bytes(data)
    path.chmod(0o644)
    return path


def changed(data: bytes, **fields: object) -> bytes:
    """The same image with another target, other needs, …"""
    image = parse(memoryview(data), "x")
    target = TARGET._replace(**fields)  # type: ignore[arg-type]
    return pack(target, data[image.code_start :], image.offsets, image.sources)


def works(image: LoadedImage) -> bool:
    pool, steps = Pool(image, 2), Steps(image, 10, 10)
    steps.start(0)
    pool.run(steps.records, 0, 10)
    pool.close()
    return steps.right()


def protection(address: int) -> str:
    """How the page at an address may be used, as the system says: `r-xp`."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, access = line.split()[:2]
        first, last = (int(end, 16) for end in span.split("-"))
        if first <= address < last:
            return access
    raise AssertionError("nothing there")


# Loading ----------------------------------------------------------------------------------------


def test_an_image_is_mapped_and_runs(path: Path) -> None:
    image = LoadedImage(path)
    assert works(image)
    assert image.lanes == TARGET.lanes
    assert protection(image.base) == "r-xp"
    assert str(path) in Path("/proc/self/maps").read_text()


def test_where_files_cannot_be_run_a_copy_is(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that is mounted `noexec` refuses."""

    def refuse(descriptor: int, offset: int, size: int) -> int:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(executable, "map_file", refuse)
    image = LoadedImage(path)
    assert protection(image.base) == "r-xp"
    assert works(image)


def test_a_copy_is_never_writable_and_executable(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    system = executable._libc()

    class Watched:
        mmap, munmap = system.mmap, system.munmap

        def mprotect(self, address: int, size: int, access: int) -> int:
            seen.append(access)
            assert protection(address) == "rw-p"
            return int(system.mprotect(address, size, access))

    monkeypatch.setattr(executable, "_libc", Watched)
    address = executable.copy_code(b"\xc3" * 10)
    assert len(seen) == 1
    assert protection(address) == "r-xp"
    assert ctypes.string_at(address, 10) == b"\xc3" * 10


def test_a_system_that_lets_nothing_be_run(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> int:
        raise OSError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(executable, "map_file", refuse)
    monkeypatch.setattr(executable, "copy_code", refuse)
    with pytest.raises(MartletError, match="cannot be read; found .*Permission denied"):
        LoadedImage(path)


# What is refused --------------------------------------------------------------------------------


@pytest.mark.parametrize("position", [0, 8, 40, 48, 100, 65536, -1])
def test_damage(path: Path, data: bytes, position: int) -> None:
    broken = bytearray(data)
    broken[position] ^= 1
    path.write_bytes(broken)
    with pytest.raises(ImageError, match="x.image: the (file is not a )?kernel image"):
        LoadedImage(path)


@pytest.mark.parametrize("size", [0, 1, 47, 48, 65536, -1])
def test_a_file_that_was_cut(path: Path, data: bytes, size: int) -> None:
    path.write_bytes(data[:size])
    with pytest.raises(ImageError, match="too short|damaged"):
        LoadedImage(path)


@pytest.mark.parametrize("mode", [0o666, 0o664, 0o646, 0o622])
def test_a_file_that_others_can_write(path: Path, mode: int) -> None:
    path.chmod(mode)
    with pytest.raises(ImageError, match=f"can be written by others; found mode {mode:o}. .*chmod"):
        LoadedImage(path)


def test_a_file_of_somebody_else(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen by another user, the file is somebody else's, unless it is the system's."""
    owner = path.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    if owner == 0:
        LoadedImage(path)
        real = os.fstat

        def fstat(descriptor: int) -> os.stat_result:
            status = list(real(descriptor))
            status[4] = 12345
            return os.stat_result(status)

        monkeypatch.setattr(os, "fstat", fstat)
    with pytest.raises(ImageError, match="belongs to somebody else; expected user"):
        LoadedImage(path)


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(MartletError, match="cannot be read; found .*Is a directory"):
        LoadedImage(tmp_path)
    with pytest.raises(MartletError, match="cannot be read; found .*No such file"):
        LoadedImage(tmp_path / "nothing")
    with pytest.raises(MartletError, match="not a file"):
        LoadedImage(Path("/dev/null"))


def test_another_machine(path: Path, data: bytes) -> None:
    path.write_bytes(changed(data, machine="s390x"))
    with pytest.raises(MartletError, match="another machine; expected .*, found s390x"):
        LoadedImage(path)


def test_missing_features_are_named(path: Path, data: bytes) -> None:
    path.write_bytes(changed(data, needs=TARGET.needs | {"avx9000", "telepathy"}))
    with pytest.raises(MartletError, match="the processor lacks .*; found no avx9000, telepathy"):
        LoadedImage(path)


# Choosing among those in the package ------------------------------------------------------------


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which a wheel has its images."""
    folder = tmp_path / "images"
    folder.mkdir()
    monkeypatch.setattr(image_files, "PACKAGED", folder)
    return folder


def packaged(package: Path, data: bytes, target: Target, sources: str | None = None) -> None:
    image = parse(memoryview(data), "x")
    data = pack(target, data[image.code_start :], image.offsets, sources or source_hash())
    (package / f"{target.name}.image").write_bytes(data)
    (package / f"{target.name}.image").chmod(0o644)


BETTER = TARGET._replace(name="better")


def test_the_first_target_that_has_an_image(package: Path, data: bytes) -> None:
    packaged(package, data, TARGET)
    assert find_image([BETTER, TARGET]).image.target == TARGET.name
    packaged(package, data, BETTER)
    assert find_image([BETTER, TARGET]).image.target == "better"


def test_a_package_without_a_fitting_image_builds_none(package: Path) -> None:
    with pytest.raises(MartletError, match=f"no kernel image for .*; expected {TARGET.name}"):
        find_image([TARGET])


def test_an_image_of_other_sources_is_passed_over(package: Path, data: bytes) -> None:
    packaged(package, data, BETTER, "other sources")
    packaged(package, data, TARGET)
    assert find_image([BETTER, TARGET]).image.target == TARGET.name


def test_targets_that_this_processor_lacks_are_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "machine", lambda: "x86_64")
    monkeypatch.setattr(images, "processor_features", lambda: TARGETS["x86-64-avx2"].needs)
    assert [t.name for t in host_targets()] == ["x86-64-avx2"]
    monkeypatch.setattr(images, "processor_features", lambda: TARGETS["x86-64-avx512"].needs)
    assert [t.name for t in host_targets()] == ["x86-64-avx512", "x86-64-avx2"]
    monkeypatch.setattr(images, "processor_features", frozenset)
    assert host_targets() == []
    with pytest.raises(MartletError, match="no kernels for this processor"):
        find_image([])


# Building in a checkout -------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of our own, in a checkout."""
    monkeypatch.setattr(image_files, "PACKAGED", tmp_path / "no images")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "martlet"


@pytest.fixture
def builds(data: bytes, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Files that were built: copies of the image that we have, so that nobody waits."""
    built: list[Path] = []

    def build(target: Target, path: Path, progress: Callable[[int, int, str], None]) -> None:
        built.append(path)
        progress(1, 1, "mirror")
        path.write_bytes(data)
        path.chmod(0o644)

    monkeypatch.setattr(image_building, "build", build)
    return built


def test_an_image_is_built_once(cache: Path, builds: list[Path]) -> None:
    assert works(find_image([TARGET]))
    assert works(find_image([TARGET]))
    (built,) = builds
    assert built.parent == cache
    assert built.name == f"{TARGET.name}-{source_hash()}.image"
    assert cache.stat().st_mode & 0o777 == 0o700


def test_other_sources_are_another_file(
    cache: Path, builds: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    find_image([TARGET])
    monkeypatch.setattr(image_files, "source_hash", lambda: "changed")
    find_image([TARGET])
    assert [path.name.removeprefix(TARGET.name) for path in builds] == [
        f"-{source_hash()}.image",
        "-changed.image",
    ]


@pytest.mark.parametrize("harm", ["damage", "mode"])
def test_a_file_that_is_no_good_is_built_again(
    cache: Path, builds: list[Path], caplog: pytest.LogCaptureFixture, harm: str
) -> None:
    find_image([TARGET])
    if harm == "damage":
        builds[0].write_bytes(builds[0].read_bytes()[:-1] + b"?")
    else:
        builds[0].chmod(0o666)
    assert works(find_image([TARGET]))
    assert len(builds) == 2
    assert "It is built again" in caplog.text


def test_images_of_older_sources_go(cache: Path, builds: list[Path]) -> None:
    cache.mkdir(mode=0o700)
    for age in range(20):
        old = cache / f"{TARGET.name}-old{age}.image"
        old.touch()
        old.with_suffix(".lock").touch()
        os.utime(old, (1000 - age, 1000 - age))
    find_image([TARGET])
    left = {path.name for path in cache.glob("*.image")}
    assert left == {builds[0].name, *(f"{TARGET.name}-old{age}.image" for age in range(7))}
    assert len(list(cache.glob("*.lock"))) == 8


def test_without_a_compiler_nothing_is_built(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_building, "can_build", lambda: False)
    with pytest.raises(MartletError, match="nothing to build one with. .*martlet.compiler"):
        find_image([TARGET])


def test_a_cache_that_others_can_write_is_not_used(cache: Path) -> None:
    cache.mkdir()
    cache.chmod(0o777)
    with pytest.raises(MartletError, match="others may write into the cache directory. chmod 700"):
        find_image([TARGET])


def test_no_place_for_a_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(image_files, "PACKAGED", tmp_path / "no images")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(MartletError, match="no cache directory"):
        find_image([TARGET])


def test_many_processes_at_once_build_one_image(cache: Path, path: Path) -> None:
    """They wait for the first; each then has the whole image."""
    text = f"""
import sys, time
from pathlib import Path
from martlet.runtime import image, image_building, image_files
image_files.PACKAGED = Path('no images')
def build(target, path, progress):
    print('built', flush=True)
    time.sleep(0.3)
    part = path.with_suffix('.part')
    part.write_bytes(Path({str(path)!r}).read_bytes())
    part.chmod(0o644)
    part.rename(path)
image_building.build = build
assert image.find_image(image.host_targets()[:1]).address('mirror')
"""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", text],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        for _ in range(6)
    ]
    said = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * 6
    assert sorted(said) == [""] * 5 + ["built\n"]


def test_builders_that_do_not_wait_do_no_harm(tmp_path: Path) -> None:
    """On a file system without locks: each writes its own file and renames it."""
    from martlet.whole_file import write

    contents = [bytes([i]) * 1_000_000 for i in range(2)]
    for content in contents * 3:
        write(tmp_path / "x.image", content)
        assert (tmp_path / "x.image").read_bytes() == content
    assert [path.name for path in tmp_path.iterdir()] == ["x.image"]
    assert (tmp_path / "x.image").stat().st_mode & 0o777 == 0o644


# What the rest of Martlet sees ------------------------------------------------------------------


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that has not looked for an image yet."""
    monkeypatch.setattr(images, "host_image", images.host_image.__wrapped__)


def test_systems_without_images_run_numpy(tmp_path: Path) -> None:
    """As Windows, which lacks what only POSIX has."""
    path = tmp_path / "model.tflite"
    path.write_bytes(models.doubling())
    text = f"""
import sys, os, ctypes, logging, subprocess, tempfile, threading, numpy
for name in ("register_at_fork", "geteuid", "sched_getaffinity", "uname", "fork"):
    delattr(os, name)
sys.modules["fcntl"] = sys.modules["resource"] = None
sys.platform = "win32"
import martlet
interpreter = martlet.Interpreter({str(path)!r}, num_threads=2)
interpreter.allocate_tensors()
interpreter.set_tensor(0, numpy.array([[1, 2, 3, 4]], "f4"))
interpreter.invoke()
print(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).tolist())
"""
    environment = {k: v for k, v in os.environ.items() if k != "MARTLET_PLANS"}
    done = subprocess.run(
        [sys.executable, "-c", text],
        capture_output=True,
        text=True,
        env={**environment, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert done.stdout == "[[2.0, 4.0, 6.0, 8.0]]\n", done.stderr
    assert "no kernels for this processor (win32)" in done.stderr


@pytest.mark.usefixtures("fresh")
def test_none_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARTLET_IMAGE", "none")
    assert images.host_image() is None


@pytest.mark.usefixtures("fresh")
def test_a_certain_file_is_wanted(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARTLET_IMAGE", str(path))
    image = images.host_image()
    assert image is not None
    assert works(image)
    monkeypatch.setenv("MARTLET_IMAGE", str(path) + "x")
    with pytest.raises(MartletError, match="No such file"):
        images.host_image()


def test_what_is_missing_is_said_once(
    cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("MARTLET_IMAGE", raising=False)
    monkeypatch.setattr(image_building, "can_build", lambda: False)
    host_image.cache_clear()
    try:
        with caplog.at_level(logging.WARNING):
            assert host_image() is None
            assert host_image() is None
    finally:
        host_image.cache_clear()
    (message,) = caplog.messages
    assert message.endswith("Models run on the NumPy semantics, which are slower")


def test_run_time_imports_no_compiler(path: Path) -> None:
    text = f"""
import sys
import martlet
from pathlib import Path
from martlet.runtime.image import LoadedImage
LoadedImage(Path({str(path)!r}))
heavy = {{'llvmlite', 'elftools', 'subprocess', 'rich', 'multiprocessing', 'concurrent'}}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""
    subprocess.run(
        [sys.executable, "-c", text],
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )


def test_arrays_of_steps_start_on_cache_lines(path: Path) -> None:
    steps = Steps(LoadedImage(path), 3, 1)
    assert steps.records.ctypes.data % 64 == 0
    assert steps.records.dtype == np.int64
