"""Replies to a message, by the published SmartReply model.

    replies = SmartReply("smartreply.tflite").reply("Are you free tomorrow?")
    # {"Yes I am": 0.83, ...}, the best first

The message is cut into sentences after `.`, `?`, `!` and `,`; each goes through the model, and
what a reply gains from several sentences is added up.
"""

from __future__ import annotations

import os
import re
import threading

import numpy as np

from martlet.dtypes import DType
from martlet.errors import ArgumentError, ModelError
from martlet.ops.operator import Spec
from martlet.runtime.session import Session
from martlet.schema.file import File
from martlet.schema.reader import read

_STOPS = re.compile(r"([?.!,])+")
_STOPS_AND_SPACE = re.compile(r"([?.!,])+[\t\n\f\r ]+")


def split_sentences(message: str) -> list[str]:
    """Sentences with their mark set apart: `"hi, you there??"` -> `["hi ,", "you there ?"]`."""
    text = _STOPS.sub(r" \1", message)
    text = _STOPS_AND_SPACE.sub("\\1\t", text)
    return re.sub(" +", " ", text).rstrip("\t").split("\t")


class SmartReply:
    """A loaded SmartReply model. Safe to use from several threads.

    model_path: the published `smartreply.tflite`, or a model with the same inputs and outputs: a
    string in; replies (strings) and their scores (floats) out.
    """

    def __init__(self, model_path: str | os.PathLike[str]) -> None:
        file = File(model_path)
        self.model = read(file.data, file.name)
        graph = self.model.main
        kinds = [
            [graph.tensors[i].dtype for i in ends if i >= 0]
            for ends in (graph.inputs, graph.outputs)
        ]
        expected = [[DType.STRING], [DType.STRING, DType.FLOAT32]]
        if kinds != expected:
            raise ModelError(
                "this is not a SmartReply model",
                where=self.model.source,
                expected="one string in, strings and floats out",
                found=" and ".join(str(k) for k in kinds),
            )
        self._session = Session(self.model)
        self._lock = threading.Lock()

    def reply(self, message: str) -> dict[str, float]:
        """Replies and their scores, the best first; {} if the model knows none."""
        if not isinstance(message, str):
            raise ArgumentError(
                "the message is not text", expected="str", found=type(message).__name__
            )
        scores: dict[bytes, np.float32] = {}
        with self._lock:
            for sentence in split_sentences(message):
                for text, score in self._predict(sentence.encode("utf-8", "replace")):
                    scores[text] = scores.get(text, np.float32(0)) + score
        ranked = sorted(scores.items(), key=lambda item: (-item[1], item[0]))
        return {text.decode("utf-8", "replace"): float(score) for text, score in ranked}

    def _predict(self, sentence: bytes) -> list[tuple[bytes, np.float32]]:
        """What one sentence gives: pairs of reply and score."""
        strings = np.empty(1, object)
        strings[0] = sentence
        self._session.start_clock()
        plan = self._session.plan(0, [Spec(DType.STRING, (1,))])
        messages, weights = self._session.run(plan, [strings])
        return [(text, score) for text, score in zip(messages, weights, strict=True) if text]
