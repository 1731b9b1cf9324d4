"""A model file to a function: crops to probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime

from mien.errors import InputError, ModelError
from mien.spec import ModelSpec
from mien.types import FloatArray, ImageArray
from mien.weights import catalogue

__all__ = ["Classifier", "spec_key"]


def spec_key(answer: str) -> str:
    """Return the ONNX metadata key under which a file tells what one of its outputs is."""
    return f"mien.spec.{answer}"


class Classifier:
    """A network in ONNX Runtime that describes itself."""

    BATCH = 64  # crops that go through the network at once: larger ones gain nothing on a processor

    def __init__(
        self, session: onnxruntime.InferenceSession, spec: ModelSpec, answer: str, answers: tuple[str, ...]
    ) -> None:
        """Hold an open session, the output to read and the names of all; `load` makes one."""
        self._session = session
        self.answer = answer
        self.spec = spec
        self.answers = answers

    @classmethod
    def load(cls, model: str | Path = catalogue.DEFAULT, *, answer: str = "", threads: int = 0) -> Classifier:
        """Return the classifier of a shipped model's name or of an ONNX file that `mien train` wrote.

        answer: which of the file's answers, by name, where it holds several; empty: the main one, or the one that the
        shipped model's name stands for.
        threads: that the network computes with; 0: as many as there are cores.
        Raises ModelError where there is no such model or answer, or the file is damaged or not one of mien's.
        """
        path, meant = catalogue.find(model)
        answer = answer or meant
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 4
        # Threads that spin while they wait take the cores from who computes next: a detector, a network in training.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises its own classes, which share only this base
            if path.suffix == ".pt":
                raise ModelError(f"{path}: not an ONNX file; `mien models export` makes one of a checkpoint") from error
            raise ModelError(f"{path}: not an ONNX file that can be run ({_one_line(error)})") from error
        described = session.get_modelmeta().custom_metadata_map
        outputs = [output.name for output in session.get_outputs() if spec_key(output.name) in described]
        if not outputs:
            raise ModelError(f"{path}: an ONNX file, but none of mien's (no {spec_key('...')} in its metadata)")
        answer = answer or outputs[0]
        if answer not in outputs:
            raise ModelError(f"{path}: has no answer {answer!r}; it has {', '.join(outputs)}")
        try:
            spec = ModelSpec.loads(described[spec_key(answer)])
        except InputError as error:
            raise ModelError(f"{path}: {error}; export it again") from error
        classifier = cls(session, spec, answer, tuple(outputs))
        try:
            read = classifier.predict_once(np.zeros((2, *spec.crop.shape), np.uint8))
        except Exception as error:  # as above
            raise ModelError(f"{path}: the network does not take what the file says ({_one_line(error)})") from error
        wanted = (2, len(spec.labels))
        if read.shape != wanted or not np.allclose(read.sum(axis=1), 1, atol=1e-3) or read.min() < 0:
            raise ModelError(
                f"{path}: the network does not give probabilities {wanted} of {spec.labels}; export it again"
            )
        return classifier

    def predict(self, crops: ImageArray) -> FloatArray:
        """Return probabilities, float32 (N, number of labels), rows that sum to 1.

        crops: uint8 (N, S, S) for a grey model or (N, S, S, 3), as `spec.crop` says and `preprocess` makes them.
        Where the spec says mirror, they are averaged with those of the mirrored crops.
        Raises InputError where the crops are of another shape or type.
        """
        if crops.dtype != np.uint8 or crops.shape[1:] != self.spec.crop.shape:
            wanted = ", ".join(map(str, self.spec.crop.shape))
            raise InputError(f"expected crops (N, {wanted}) of uint8; got {crops.shape} of {crops.dtype}")
        probabilities = np.empty((len(crops), len(self.spec.labels)), np.float32)
        for start in range(0, len(crops), self.BATCH):
            batch = np.ascontiguousarray(crops[start : start + self.BATCH])
            read = self.predict_once(batch)
            if self.spec.mirror:
                read = (read + self.predict_once(np.ascontiguousarray(batch[:, :, ::-1]))) * np.float32(0.5)
            probabilities[start : start + len(batch)] = read
        return probabilities

    def predict_once(self, crops: ImageArray) -> FloatArray:
        """Return the network's own answer (N, L) for one batch of crops, the mirror image left aside."""
        return self.predict_answers(crops, (self.answer,))[0]

    def predict_answers(self, crops: ImageArray, answers: Sequence[str]) -> list[FloatArray]:
        """Return what several of the file's answers say, (N, L) each, for one batch of crops, not mirrored."""
        read: list[FloatArray] = self._session.run(list(answers), {self._session.get_inputs()[0].name: crops})
        return read


def _one_line(error: Exception) -> str:
    """Return an error's text without line breaks."""
    return " ".join(str(error).split())
