"""The ways of the paper's introduction: features by hand (HOG, Gabor, DCT, SIFT) or learned (PCA), and an SVM."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from scipy.fft import dctn
from scipy.special import softmax
from skimage.feature import hog
from skimage.filters import gabor_kernel
from sklearn.decomposition import PCA
from sklearn.kernel_approximation import Nystroem
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from mien.labels import FER2013
from mien.types import FloatArray, ImageArray, IntArray

__all__ = ["COMPONENTS", "FEATURES", "LANDMARKS", "REVISION", "features_of", "fit_classifier", "shares_of"]

REVISION = 1  # of what is computed here: another one is another measurement

HOG_CELL_PX = 6
GABOR_FREQUENCIES = (0.1, 0.2, 0.35)  # waves a pixel
GABOR_DIRECTIONS = 8
GABOR_CELL_PX = 6  # a response is kept as its mean over such squares
DCT_KEPT = 16  # of the lowest frequencies on each axis, those whose sum is below
SIFT_STEP_PX, SIFT_SIZE_PX = 8, 4  # a descriptor covers six times its size
COMPONENTS = 150  # that PCA leaves of the features
LANDMARKS = 1000  # of the kernel's approximation
COSTS = (0.1, 1.0, 10.0)  # C of the SVM, of which validation chooses


def _hog(crop: ImageArray) -> FloatArray:
    """Return histograms of oriented gradients (Dalal and Triggs 2005)."""
    cells = {"pixels_per_cell": (HOG_CELL_PX, HOG_CELL_PX), "cells_per_block": (2, 2)}
    found: FloatArray = hog(crop, orientations=8, **cells)
    return found


def _gabor(crop: ImageArray) -> FloatArray:
    """Return the strength of waves of several lengths and directions, over squares of the crop."""
    pixels = crop.astype(np.float32) / 255
    responses = []
    for real, imaginary in _GABOR:
        strength = cv2.magnitude(
            cv2.filter2D(pixels, cv2.CV_32F, real, borderType=cv2.BORDER_REFLECT),
            cv2.filter2D(pixels, cv2.CV_32F, imaginary, borderType=cv2.BORDER_REFLECT),
        )
        side = max(1, crop.shape[0] // GABOR_CELL_PX)
        responses.append(cv2.resize(strength, (side, side), interpolation=cv2.INTER_AREA).ravel())
    return np.concatenate(responses)


_GABOR = [
    (np.ascontiguousarray(kernel.real, np.float32), np.ascontiguousarray(kernel.imag, np.float32))
    for kernel in (
        gabor_kernel(frequency, theta=np.pi * number / GABOR_DIRECTIONS)
        for frequency in GABOR_FREQUENCIES
        for number in range(GABOR_DIRECTIONS)
    )
]


def _dct(crop: ImageArray) -> FloatArray:
    """Return the lowest frequencies of the discrete cosine transform, without the mean."""
    coefficients = dctn(crop.astype(np.float32), norm="ortho")
    down, right = np.indices(coefficients.shape)
    found: FloatArray = coefficients[(down + right < DCT_KEPT) & (down + right > 0)]
    return found


def _sift(crop: ImageArray) -> FloatArray:
    """Return SIFT descriptors (Lowe 2004) on a grid: a crop of 48 pixels has too few key points of its own."""
    places = range(SIFT_STEP_PX // 2, crop.shape[0], SIFT_STEP_PX)
    points = [cv2.KeyPoint(float(right), float(down), float(SIFT_SIZE_PX), 0.0) for down in places for right in places]
    _, descriptors = cv2.SIFT_create().compute(crop, points)  # type: ignore[attr-defined]  # OpenCV types all but SIFT
    found: FloatArray = np.asarray(descriptors, np.float32).ravel()
    return found


def _pixels(crop: ImageArray) -> FloatArray:
    """Return the pixels, less their mean: what PCA is made of (Turk and Pentland 1991, "Eigenfaces")."""
    centred: FloatArray = crop.ravel().astype(np.float32) - crop.mean(dtype=np.float32)
    return centred


#: What each way makes of a grey crop (S, S).
FEATURES: dict[str, Callable[[ImageArray], FloatArray]] = {
    "HOG + SVM": _hog,
    "Gabor + SVM": _gabor,
    "DCT + SVM": _dct,
    "SIFT + SVM": _sift,
    "PCA + SVM": _pixels,
}


def features_of(way: str, crops: ImageArray, *, on_progress: Callable[[int, int], None] | None = None) -> FloatArray:
    """Return what a way makes of crops (N, S, S) or (N, S, S, 3) uint8, (N, F) float32."""
    found = []
    for number, crop in enumerate(crops, start=1):
        grey = crop if crop.ndim == 2 else cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
        found.append(np.asarray(FEATURES[way](grey), np.float32))
        if on_progress:
            on_progress(number, len(crops))
    return np.stack(found)


def fit_classifier(
    features: FloatArray, labels: IntArray, val_features: FloatArray, val_labels: IntArray, *, seed: int
) -> Pipeline:
    """Return an SVM with a Gaussian kernel, fitted to features (N, F) and labels (N,), its cost chosen on validation.

    The features are scaled and brought to their principal components, and the kernel's width is their variance.  The
    kernel is approximated by some of the samples (Williams and Seeger 2001, "Using the Nystroem Method to Speed Up
    Kernel Machines"), since an exact one takes hours for FER2013's 28,709.
    """
    reduce = make_pipeline(StandardScaler(), PCA(min(COMPONENTS, *features.shape), random_state=seed))
    reduced = reduce.fit_transform(features)
    landmarks = min(LANDMARKS, len(features))
    kernel = Nystroem(gamma=1 / reduced.var(axis=0).sum(), n_components=landmarks, random_state=seed)
    mapped, val_mapped = kernel.fit_transform(reduced), kernel.transform(reduce.transform(val_features))
    machines = [LinearSVC(C=cost, dual=False).fit(mapped, labels) for cost in COSTS]
    best = max(machines, key=lambda machine: machine.score(val_mapped, val_labels))
    return make_pipeline(*(step for _, step in reduce.steps), kernel, best)


def shares_of(way: str, fitted: Pipeline, crops: ImageArray) -> FloatArray:
    """Return what a fitted way says of crops (N, S, S) or (N, S, S, 3) uint8: (N, 7), its margins' softmax."""
    margins = np.full((len(crops), len(FER2013)), -np.inf)
    margins[:, fitted.classes_] = fitted.decision_function(features_of(way, crops))
    shares: FloatArray = softmax(margins, axis=1).astype(np.float32)
    return shares
