"""A model file to a function: crops to probabilities."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime

from mien.errors import InputError, ModelError
from mien.spec import ModelSpec
from mien.types import FloatArray, ImageArray
from mien.weights import catalogue

__all__ = ["SPEC_KEY", "Classifier"]

#: The ONNX metadata key under which a model says what it is.
SPEC_KEY = "mien.spec"


class Classifier:
    """A network in ONNX Runtime that describes itself."""

    BATCH = 64  # crops that go through the network at once: larger ones gain nothing on a processor

    def __init__(self, session: onnxruntime.InferenceSession, spec: ModelSpec) -> None:
        """Hold an open session; `load` makes one."""
        self._session = session
        self.spec = spec

    @classmethod
    def load(cls, model: str | Path = catalogue.DEFAULT, *, threads: int = 0) -> Classifier:
        """Return the classifier of a shipped model's name or of an ONNX file that `mien train` wrote.

        threads: that the network computes with; 0: as many as there are cores.
        Raises ModelError where there is no such model, or the file is damaged or not one of mien's.
        """
        path = catalogue.find(model)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 4
        try:
            session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises its own classes, which share only this base
            raise ModelError(f"{path}: not an ONNX file that can be run ({_one_line(error)})") from error
        described = session.get_modelmeta().custom_metadata_map.get(SPEC_KEY)
        if described is None:
            raise ModelError(f"{path}: an ONNX file, but none of mien's (no {SPEC_KEY} in its metadata)")
        try:
            spec = ModelSpec.loads(described)
        except InputError as error:
            raise ModelError(f"{path}: {error}; export it again") from error
        classifier = cls(session, spec)
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
        read: FloatArray = self._session.run(None, {self._session.get_inputs()[0].name: crops})[0]
        return read


def _one_line(error: Exception) -> str:
    """Return an error's text without line breaks."""
    return " ".join(str(error).split())
