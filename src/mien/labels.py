"""The expressions, their order and the names that other people give them; the only place a label is spelled."""

from __future__ import annotations

import reprlib

from mien.errors import LabelError

__all__ = ["COMPOUNDS", "FER2013", "FERPLUS", "FERPLUS_COLUMNS", "VOTES", "parse_label"]

#: The seven expressions in the order of FER2013's emotion column; every model and table keeps it.
FER2013: tuple[str, ...] = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")

#: FER+ adds contempt (Barsoum et al. 2016, "Training Deep Networks for Facial Expression Recognition with
#: Crowd-Sourced Label Distribution").
FERPLUS: tuple[str, ...] = (*FER2013, "contempt")

#: What a FER+ tagger could answer, in the order in which a manifest stores the votes.
VOTES: tuple[str, ...] = (*FERPLUS, "unknown", "not a face")

#: The vote columns of fer2013new.csv in that file's own order and spelling, and the answer that each stands for.
FERPLUS_COLUMNS: dict[str, str] = {
    "neutral": "neutral",
    "happiness": "happy",
    "surprise": "surprise",
    "sadness": "sad",
    "anger": "angry",
    "disgust": "disgust",
    "fear": "fear",
    "contempt": "contempt",
    "unknown": "unknown",
    "NF": "not a face",
}

#: What Du, Tao and Martinez 2014, "Compound facial expressions of emotion" (PNAS), call two expressions at once,
#: whichever is the stronger.  They give no name to happy beside sad, fear or angry, and none to neutral or contempt;
#: their "appalled", "hatred" and "awed" are the emotions of pairs that stand here already, shown otherwise.
COMPOUNDS: dict[frozenset[str], str] = {
    frozenset(("happy", "surprise")): "happily surprised",
    frozenset(("happy", "disgust")): "happily disgusted",
    frozenset(("sad", "fear")): "sadly fearful",
    frozenset(("sad", "angry")): "sadly angry",
    frozenset(("sad", "surprise")): "sadly surprised",
    frozenset(("sad", "disgust")): "sadly disgusted",
    frozenset(("fear", "angry")): "fearfully angry",
    frozenset(("fear", "surprise")): "fearfully surprised",
    frozenset(("fear", "disgust")): "fearfully disgusted",
    frozenset(("angry", "surprise")): "angrily surprised",
    frozenset(("angry", "disgust")): "angrily disgusted",
    frozenset(("disgust", "surprise")): "disgustedly surprised",
}

_ALIASES = {
    "anger": "angry",
    "disgusted": "disgust",
    "afraid": "fear",
    "fearful": "fear",
    "scared": "fear",
    "happiness": "happy",
    "joy": "happy",
    "sadness": "sad",
    "surprised": "surprise",
    "neutrality": "neutral",
    **{name: name for name in FERPLUS},
}


def parse_label(name: str, *, known: tuple[str, ...] = FER2013, where: str = "label") -> int:
    """Return the index in `known` of an expression named as people name it (any case, "happiness" for "happy").

    where: what the error names, such as a file and row.
    Raises LabelError where the name is not an expression of the set.
    """
    label = _ALIASES.get(name.strip().lower())
    if label is None or label not in known:
        raise LabelError(f"{where}: unknown label {reprlib.repr(name)}; expected one of {', '.join(known)}")
    return known.index(label)
