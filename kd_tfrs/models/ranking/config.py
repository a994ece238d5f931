"""The size and shape of a ranking network."""

from __future__ import annotations

import dataclasses
import pkgutil
from pathlib import Path
from typing import Any

from kd_tfrs.errors import UserError

# The modules of `networks`, found without importing them.
_NETWORKS = pkgutil.iter_modules([str(Path(__file__).with_name("networks"))])
ARCHITECTURES = tuple(module.name for module in _NETWORKS)
ACTIVATIONS = ("relu", "prelu", "dice")


def own_option(architecture: str, help_text: str) -> Any:
    """A field of one architecture alone, which becomes a flag of a run.

    Args:
        architecture: the one that uses it; a mistake for any other.
        help_text: one sentence for `--help`.

    Returns:
        The field, `None` by default.
    """
    metadata = {"architecture": architecture, "help": help_text}
    return dataclasses.field(default=None, metadata=metadata)


@dataclasses.dataclass(frozen=True)
class RankerConfig:
    """The size and shape of a ranking network.

    An option of another architecture than the chosen one is a mistake;
    `None` leaves it to the architecture.

    Args:
        architecture: one of `ARCHITECTURES`.
        embedding_dim: width of every field's embedding.
        hidden_units: widths of the deep part's layers, or of each expert's.
            With none, logits are linear in what the deep part would see, or
            in what stands beside it (`dcn`, `autoint`).
        cross_layers: `dcn`: cross layers, 2 by default.
        projection_dim: `dcn`: rank of their kernels; full by default.
        heads: `autoint`: heads of attention, each as wide as the embedding,
            2 by default.
        dropout: share of the deep part's inputs and of its hidden layers'
            outputs that is dropped in training, [0, 1).
        experts: of a multi-gate mixture, 2 or more; `None` shares one bottom
            between the tasks.
        l2: strength of the penalty on the embeddings that a batch looked up,
            at least 0: `l2` times the mean over rows of their squared norm.
            Rows that a batch does not name are left alone.
        activation: of hidden layers: "relu", "prelu" or "dice".
        tower_units: widths of the hidden layers that each of several tasks
            has to itself, behind the shared ones.
        stacked: `dcn`: the deep part sees the last cross layer, rather than
            the embeddings beside it; `False` by default.
        attention_layers: `autoint`: layers of attention, 2 by default.
        attention_units: `din`: widths of the activation unit's hidden
            layers, (36,) by default.
        attention_softmax: `din`: weights of a history sum to 1; `False`, as
            in the paper, by default.
        bottom_units: `dlrm`: widths of hidden layers over the numbers, twice
            the embedding by default.
        crosses: `wide_deep`: pairs of names of single-valued categories whose
            combinations get a weight each.

    Raises:
        UserError: an option is out of range, or would be ignored.

    Example:
    ```python
    RankerConfig("dcn", embedding_dim=32, hidden_units=(128, 64), l2=1e-5)
    ```
    """

    architecture: str = "dnn"
    embedding_dim: int = 16
    hidden_units: tuple[int, ...] = (64, 32)
    cross_layers: int | None = own_option(
        "dcn", "Cross layers of dcn; 2 if unset."
    )
    projection_dim: int | None = own_option(
        "dcn", "Rank of their kernels; full if unset."
    )
    heads: int | None = own_option(
        "autoint", "Heads of autoint's attention; 2 if unset."
    )
    dropout: float = 0.0
    experts: int | None = None
    l2: float = 0.0
    activation: str = "relu"
    tower_units: tuple[int, ...] = ()
    stacked: bool | None = own_option(
        "dcn", "Whether dcn's deep part stands behind the cross layers."
    )
    attention_layers: int | None = own_option(
        "autoint", "Attention layers of autoint; 2 if unset."
    )
    attention_units: tuple[int, ...] | None = own_option(
        "din", "Hidden layers of din's activation unit; 36 if none."
    )
    attention_softmax: bool | None = own_option(
        "din", "Whether din's weights of a history sum to 1."
    )
    bottom_units: tuple[int, ...] | None = own_option(
        "dlrm",
        "Hidden layers of dlrm over the numbers; twice the embedding's width "
        "if none.",
    )
    crosses: tuple[tuple[str, str], ...] | None = own_option(
        "wide_deep",
        "Pairs of columns whose combinations have a weight each in wide_deep, "
        "as gender*genre, comma separated.",
    )

    def __post_init__(self) -> None:
        self._check_choice("architecture", ARCHITECTURES)
        self._check_choice("activation", ACTIVATIONS)
        for option, architecture in OWN_OPTIONS.items():
            self._check_used(option, architecture)
        # Types are texts, as written above.
        for field in dataclasses.fields(self):
            if field.type.startswith("tuple[int"):
                self._freeze(field.name)
            elif field.type.startswith("int"):
                self._check_sizes(field.name, (getattr(self, field.name),))
        self._check_shares()
        self._check_experts()
        if self.crosses is not None:
            self._check_crosses()

    def check_heads(self, num_tasks: int) -> None:
        """Refuses options of several heads where there is one.

        Args:
            num_tasks: number of heads.

        Raises:
            UserError: they would be ignored.
        """
        if num_tasks == 1 and (self.experts or self.tower_units):
            raise UserError(
                "`experts` and `tower_units` are for several tasks. Received: "
                f"{self.experts} and {self.tower_units} for one. Leave them "
                "out."
            )

    def check_history(self, has_history: bool) -> None:
        """Refuses an architecture that attends to a history without one.

        Args:
            has_history: whether there is an input `history`.

        Raises:
            UserError: there should be one.
        """
        if self.architecture == "din" and not has_history:
            raise UserError(
                "`din` attends to a history. Received: `history_length` = "
                "None. Give its length, or take another architecture."
            )

    def _check_choice(self, option: str, choices: tuple[str, ...]) -> None:
        if getattr(self, option) not in choices:
            raise UserError(
                f"`{option}` should be one of {', '.join(choices)}. Received: "
                f"`{option}` = {getattr(self, option)!r}."
            )

    def _check_used(self, option: str, architecture: str) -> None:
        value = getattr(self, option)
        if value is not None and self.architecture != architecture:
            raise UserError(
                f"`{option}` is used by {architecture} only. Received: "
                f"`{option}` = {value!r} for {self.architecture}. Leave it out."
            )

    def _freeze(self, option: str) -> None:
        """Lists of a configuration file become tuples."""
        widths = getattr(self, option)
        if widths is None:
            return
        object.__setattr__(self, option, tuple(widths))
        self._check_sizes(option, widths)

    def _check_sizes(self, option: str, sizes: tuple) -> None:
        for size in sizes:
            good = isinstance(size, int) and not isinstance(size, bool)
            if size is not None and not (good and size >= 1):
                raise UserError(
                    f"`{option}` should be positive. Received: `{option}` = "
                    f"{getattr(self, option)!r}. Give sizes of at least 1."
                )

    def _check_shares(self) -> None:
        if not 0.0 <= self.dropout < 1.0:
            raise UserError(
                "`dropout` should lie in [0, 1). Received: `dropout` = "
                f"{self.dropout}. Give a share such as 0.1."
            )
        if not 0.0 <= self.l2 < float("inf"):
            raise UserError(
                "`l2` should be at least 0. Received: `l2` = "
                f"{self.l2}. Values from 1e-6 to 1e-3 are usual."
            )

    def _check_experts(self) -> None:
        if self.experts is None:
            return
        good = isinstance(self.experts, int) and self.experts >= 2
        if not good or not self.hidden_units:
            raise UserError(
                "`experts` should be 2 or more, with `hidden_units` for each "
                f"of them. Received: `experts` = {self.experts!r} and "
                f"`hidden_units` = {self.hidden_units}."
            )

    def _check_crosses(self) -> None:
        crosses = tuple(tuple(pair) for pair in self.crosses)
        object.__setattr__(self, "crosses", crosses)
        if any(len(pair) != 2 or len(set(pair)) != 2 for pair in crosses):
            raise UserError(
                "`crosses` should be pairs of two different columns. "
                f"Received: `crosses` = {crosses}."
            )


# The architecture of each option that one alone uses.
OWN_OPTIONS = {
    field.name: field.metadata["architecture"]
    for field in dataclasses.fields(RankerConfig)
    if field.metadata
}
# Named sizes: a teacher, a student of a few per cent, and an edge model. They
# set the options that all architectures have; for another architecture use
# `dataclasses.replace(TEACHER, architecture="deepfm")`.
TEACHER = RankerConfig(
    "dcn", embedding_dim=32, hidden_units=(256, 128), dropout=0.2, l2=1e-5
)
STUDENT = RankerConfig("dnn", embedding_dim=8, hidden_units=(32, 16))
EDGE = RankerConfig("dnn", embedding_dim=4, hidden_units=(16,))
