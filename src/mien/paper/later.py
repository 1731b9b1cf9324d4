"""The page on what the paper leaves for later."""

from __future__ import annotations

from mien.errors import MienError
from mien.evaluate.mixture_rows import NAME, read_mixtures
from mien.paper.context import STUDIES, Context, percent, share
from mien.paper.page import Section, Table
from mien.weights import catalogue

__all__ = ["later"]


#: What is planned, where mien has it, why not or what came of it.
PLANS = (
    ("several databases at once", "data.manifests of a recipe joins any number",
     "not measured: no second one with a licence that allows it was found"),
    ("transfer from larger databases", "fine-tuning of any of mien's models (model.start, recipes/finetune.toml)",
     "not measured: weights learned from other pictures would make the comparison with the paper another one"),
    ("attention", "squeeze-and-excitation in resnet (model.attention)", "{}; without it: {}"),
    ("transformers", "vit", "{}"),
    ("discriminative losses", "ArcFace's margin (model.cosine, optimiser.margin)", "{}; without it: {}"),
    ("multimodal input", "no", "FER2013 has neither sound nor text"),
    ("AutoML", "mien search, by four strategies", "the section above"),
    ("reinforcement learning", "no",
     "it searches the same space in far more trials than the four strategies above (Zoph and Le 2017: 12,800)"),
    ("video", "mien recognize VIDEO: people followed, probabilities smoothed, a timeline",
     "docs/video.md; a video whose frames have labels was not at hand, so that no accuracy is known"),
    ("demographics", "no", "FER2013 says nothing of who its people are, and a guess would be worse than none"),
    ("mixed expressions", "trained on FER+'s distributions of votes; mien.mixture says one, two or unsure", "{}"),
)  # fmt: skip


def later(context: Context) -> Section:
    """Each of the paper's plans: where mien has it, with its figure, or why not."""
    try:
        scores = context.shipped("mien-fer2013", "test", "all")
        shipped = f"{percent(scores)} on test" if scores else "nothing in split test"
    except MienError as error:  # of other crops, say
        shipped = str(error)
    measured = {
        "attention": [
            _on_validation(context, "networks", variant) for variant in ("ResNet-like with attention", "ResNet-like")
        ],
        "transformers": [_on_validation(context, "networks", "vision transformer (AdamW, 1e-3)")],
        "discriminative losses": [
            _on_validation(context, "parts", variant)
            for variant in ("loss: ArcFace's margin, and its last layer", "as it is")
        ],
        "mixed expressions": [_mixed(context)],
    }
    rows = [[plan, where, why.format(*measured.get(plan, []))] for plan, where, why in PLANS]
    return Section(
        "What the paper leaves for later",
        [
            Table(
                "Named in the abstract and in sections I, IV and V of the paper.",
                ["plan", "in mien", "figure, or why not"],
                [*rows, ["better rates", "a network of its own with two heads", f"mien-fer2013: {shipped}"]],
            )
        ],
    )  # fmt: skip


def _on_validation(context: Context, study: str, variant: str) -> str:
    """Return what a variant's first seed reaches on validation."""
    runs = context.studies.of(study).get(variant, [])
    if not runs:
        why = context.failed.get(STUDIES, context.studies.unusable.get(study, {}).get(variant))
        return f"cannot be trained ({why})" if why else "not in these studies"
    accuracy = context.accuracy(study, variant)
    if accuracy == "-":
        why = context.failed.get(runs[0].recipe.name)
        return f"not trained ({why})" if why else "not trained yet"
    return f"on validation {accuracy}"


def _mixed(context: Context) -> str:
    """Return what leaving out the faces that `mien` is least sure of is worth on test, where somebody measured it."""
    wanted = {
        "model": "mien", "model_sha256": catalogue.SHIPPED["mien"].sha256, "split": "test", "subset": "all",
        "manifest_sha256": context.dataset.manifest.sha256, "views": "own", "change": "",
    }  # fmt: skip
    for row in read_mixtures(context.ledger.folder / NAME):
        if all(row[key] == value for key, value in wanted.items()):
            every, surest = (share(float(row[f"majority_{name}"])) for name in ("accuracy", "without_fifth"))
            return (
                f"{every} of the majorities of FER+'s taggers on test; {surest} without the fifth it is least sure of"
            )
    return "not measured on these faces"
