"""The page on what the paper leaves for later."""

from __future__ import annotations

from mien.errors import MienError
from mien.paper.context import Context, percent
from mien.paper.page import Section, Table

__all__ = ["later"]


#: What is planned, where mien has it, why not or what came of it.
PLANS = (
    ("several databases at once", "data.manifests of a recipe joins any number",
     "FER2013 is the one that may be used here; no second one with a licence that allows it was found"),
    ("transfer from larger databases", "no",
     "weights that were learned from other pictures would make the comparison with the paper another one"),
    ("attention", "squeeze-and-excitation in resnet (model.attention)", "built; in no network that ships"),
    ("transformers", "vit", "on validation: {}"),
    ("discriminative losses", "ArcFace's margin (model.cosine, optimiser.margin)", "on validation: {}"),
    ("multimodal input", "no", "FER2013 has neither sound nor text"),
    ("AutoML", "mien search, by four strategies", "the section above"),
    ("reinforcement learning", "no",
     "it searches the same space in far more trials than the four strategies above (Zoph and Le 2017: 12,800)"),
    ("video", "not yet", "planned"),
    ("demographics", "no", "FER2013 says nothing of who its people are, and a guess would be worse than none"),
    ("mixed expressions", "mien is trained on FER+'s distributions of votes", "cards/mien.md"),
)  # fmt: skip


def later(context: Context) -> Section:
    """Each of the paper's plans: where mien has it, with its figure, or why not."""
    try:
        shipped = percent(context.shipped("mien-fer2013", "test", "all"))
    except MienError as error:  # of other crops, say
        shipped = str(error)
    measured = {
        "transformers": context.accuracy("networks", "vision transformer (AdamW, 1e-3)"),
        "discriminative losses": context.accuracy("parts", "loss: ArcFace's margin"),
    }
    rows = [[plan, where, why.format(measured.get(plan))] for plan, where, why in PLANS]
    return Section(
        "What the paper leaves for later",
        [
            Table(
                "Named in sections I, IV and V of the paper.",
                ["plan", "in mien", "figure, or why not"],
                [*rows, ["better rates", "a larger network with two heads", f"mien-fer2013: {shipped} on test"]],
            )
        ],
    )  # fmt: skip
