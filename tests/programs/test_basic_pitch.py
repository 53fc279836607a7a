"""basic-pitch, unchanged and told of nothing: the notes of a synthesised melody come out.

The program looks for TensorFlow, does not find it, and takes its `.tflite` model and the signature
runner of `tflite_runtime`, as it would on a small machine.
"""

import csv
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.programs

RATE = 22050
MELODY = [60, 64, 67, 72]  # MIDI numbers: C, E, G, C; half a second each
START, LENGTH = 0.25, 0.5


@pytest.fixture
def recording(tmp_path):
    """A WAV file of the melody, played on something like a plucked string."""
    time = np.arange(int(LENGTH * RATE)) / RATE
    envelope = np.exp(-2 * time) * np.minimum(1, np.minimum(time, time[::-1]) * 100)
    tones = []
    for number in MELODY:
        pitch = 440 * 2 ** ((number - 69) / 12)
        partials = sum(np.sin(2 * np.pi * pitch * k * time) / k**2 for k in range(1, 6))
        tones.append(partials * envelope)
    silence = np.zeros(int(START * RATE))
    sound = np.concatenate([silence, *tones, silence])
    path = tmp_path / "melody.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((sound / np.abs(sound).max() * 26000).astype("<i2").tobytes())
    return path


def test_the_notes_of_a_melody_come_out(recording, tmp_path):
    program = Path(sys.executable).with_name("basic-pitch")
    command = [sys.executable, "-m", "martlet.compat", str(program), "--save-note-events"]
    done = subprocess.run(
        [*command, str(tmp_path), str(recording)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    with open(tmp_path / "melody_basic_pitch.csv", newline="") as file:
        notes = sorted((float(n[0]), int(n[2])) for n in list(csv.reader(file))[1:])
    assert [pitch for _, pitch in notes] == MELODY
    starts = [START + LENGTH * i for i in range(len(MELODY))]
    assert [start for start, _ in notes] == pytest.approx(starts, abs=0.05)
