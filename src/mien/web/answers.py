"""The shapes of the service's answers, as OpenAPI tells them."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

__all__ = ["Faces", "Health", "Job", "Picture", "PicturesAnswer", "VideoSummary"]

_FACE: dict[str, JsonValue] = {
    "face": 0, "track": None, "box": [88.31, 41.5, 140.9, 94.02], "detector_score": 0.9871, "expression": "happy",
    "confidence": 0.941, "probabilities": {"angry": 0.003, "disgust": 0.001, "fear": 0.002, "happy": 0.941,
                                           "sad": 0.006, "surprise": 0.018, "neutral": 0.029},
    "mixture": {"name": "happy", "shares": {"happy": 1.0}},
}  # fmt: skip
_PICTURES: dict[str, JsonValue] = {
    "model": "mien", "labels": ["angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"],
    "pictures": [{"name": "one.jpg", "width": 160, "height": 120, "faces": [_FACE], "error": None}],
}  # fmt: skip
_JOB: dict[str, JsonValue] = {
    "id": "mXscBTbG8D2w108mZb3TzA", "state": "running", "progress": 0.42, "time_s": 8.2, "duration_s": 19.7,
    "faces": 41, "annotated": True, "error": None,
}  # fmt: skip


class Mixed(BaseModel):
    """An expression, a mixture of two, or unsure."""

    name: str
    shares: dict[str, float] = Field(description="One or two labels, the strongest first; none: unsure.")


class Faces(BaseModel):
    """One face."""

    model_config = ConfigDict(json_schema_extra={"examples": [_FACE]})

    face: int = Field(description="Which one of its picture, from 0, the largest first.")
    track: int | None = Field(description="Which person of a video or camera, from 1; null in pictures.")
    box: list[float] = Field(description="x0, y0, x1, y1 in pixels of the picture.", min_length=4, max_length=4)
    detector_score: float
    expression: str
    confidence: float
    probabilities: dict[str, float]
    mixture: Mixed


class Picture(BaseModel):
    """One picture of a request."""

    name: str | None = Field(description="As the form has it; null for a raw body.")
    width: int | None
    height: int | None
    faces: list[Faces]
    error: str | None = Field(description="Why it could not be read, where others of the request could.")


class PicturesAnswer(BaseModel):
    """What the pictures of a request show, in their order."""

    model_config = ConfigDict(json_schema_extra={"examples": [_PICTURES]})

    model: str = Field(examples=["mien"])
    labels: list[str]
    pictures: list[Picture]


class Job(BaseModel):
    """How far a video is."""

    model_config = ConfigDict(json_schema_extra={"examples": [_JOB]})

    id: str
    state: Literal["waiting", "running", "done", "failed"]
    progress: float = Field(ge=0, le=1)
    time_s: float = Field(description="How much of the video is read.")
    duration_s: float | None = Field(description="As its file says; null where it does not.")
    faces: int = Field(description="Rows so far: faces over all frames.")
    annotated: bool = Field(description="Whether there is, or will be, an annotated copy.")
    error: str | None = Field(description="Why it failed, or where a video that is done broke off.")


class Strongest(BaseModel):
    """When an expression was on top with its largest probability."""

    time_s: float
    probability: float
    box: list[float] = Field(min_length=4, max_length=4)


class PersonInShort(BaseModel):
    """What one person of a video showed."""

    track: int
    first_s: float
    last_s: float
    seen_s: float
    shares: dict[str, float] = Field(description="Of the time seen, how long each expression was on top.")
    means: dict[str, float] = Field(description="The mean probability of each expression.")
    unsure: float = Field(description="Of the time seen, how long it could not be told.")
    changes: int = Field(description="How often another expression came on top and stayed.")
    moments: dict[str, Strongest]


class VideoSummary(BaseModel):
    """Each person of a video in short."""

    people: list[PersonInShort]


class Health(BaseModel):
    """That the service is there."""

    status: Literal["ok"]
