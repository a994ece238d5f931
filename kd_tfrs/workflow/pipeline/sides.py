"""The two runs that are put together, opened to be read."""

from __future__ import annotations

import abc
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from kd_tfrs.data.schema import Encoding, Owner
from kd_tfrs.errors import UserError
from kd_tfrs.evaluation.retrieval import PopularityScorer, Scorer
from kd_tfrs.export.litert import LiteRtRunner
from kd_tfrs.export.ranking.inputs import RankingInputs, RawColumn
from kd_tfrs.export.ranking.tables import ServingTables
from kd_tfrs.workflow.chain import Chain
from kd_tfrs.workflow.compression_options import stored_as
from kd_tfrs.workflow.options import FlatConfig
from kd_tfrs.workflow.pipeline.checks import run_flags
from kd_tfrs.workflow.pipeline.live import (
    TableRanker,
    TowerScorer,
    compiled_network,
)
from kd_tfrs.workflow.ranking.config import RankingConfig
from kd_tfrs.workflow.ranking.exporting import serving_tables
from kd_tfrs.workflow.ranking.prepare import Inputs
from kd_tfrs.workflow.ranking.stages import LITERT_FILE, RankingStages
from kd_tfrs.workflow.retrieval import measure
from kd_tfrs.workflow.retrieval.config import Config
from kd_tfrs.workflow.retrieval.stages import Stages
from kd_tfrs.workflow.run import Run

# The form of the student that a run exports, in process.
SHIPPED = "shipped"


class Side(abc.ABC):
    """One finished run, which is read and never changed.

    Args:
        directory: the run folder.

    Raises:
        UserError: it is no run of this task, or another process is at work
            in it.

    Attributes:
        task: what its run has learned.
        flag: by which it is given.
        run: the run, locked until `close`.
    """

    task: ClassVar[str]
    flag: ClassVar[str]
    _config: ClassVar[type[FlatConfig]]
    _chain: ClassVar[type[Chain]]
    _export: ClassVar[str]

    def __init__(self, directory: str | Path) -> None:
        flat = run_flags(Path(directory), self.flag, self.task)
        self.run = Run(directory, self._config.from_flat(flat), log=False)
        self.chain = self._chain(self.run)

    def close(self) -> None:
        """Lets others into the folder."""
        self.run.close()

    @property
    def fingerprint(self) -> str | None:
        """Of its data; `None` where the run has not read them yet."""
        return (self.run.read_json("data.json") or {}).get("fingerprint")

    @property
    def export(self) -> Path | None:
        """The folder of its export's versions, where there is one."""
        folder = self.run.directory / "export" / self._export
        return folder if self.has("saved_model") else None

    @property
    def form(self) -> str:
        """The form of the student that is exported; else the distilled one."""
        if not self.chain.is_done("saved_model"):
            return "distilled"
        return self.chain.result("saved_model")["choice"]["name"]

    def has(self, stage: str) -> bool:
        """Whether a stage is done."""
        return self.chain.is_done(self.form if stage == SHIPPED else stage)

    @property
    @abc.abstractmethod
    def parts(self) -> Any:
        """The events of its split: `train`, `validation` and `test`."""


class RetrievalSide(Side):
    """A finished retrieval run."""

    task, flag, _export = "retrieval", "--retrieval_run", "retrieval"
    _config, _chain = Config, Stages

    @property
    def parts(self) -> Any:
        """See `Side.parts`."""
        return self.chain.prepared.split

    def has(self, stage: str) -> bool:
        """See `Side.has`; popularity is always there."""
        return stage == "popularity" or super().has(stage)

    def scorer(self, stage: str) -> Scorer:
        """What retrieves.

        Args:
            stage: "popularity", "shipped", or a stage with a model that is
                done.

        Returns:
            A scorer; of a stage with towers, one that embeds the user at
            every call. What ships is scored as it is stored.
        """
        prepared, learner = self.chain.prepared, self.chain.learner
        if stage == "popularity":
            return PopularityScorer(
                prepared.split.train,
                prepared.catalogue.item_ids,
                item_col=prepared.catalogue.item_column,
            )
        if stage == SHIPPED:
            source, storage = stored_as(self.form)
            embedded = measure.embed(
                learner.load(source), learner.encoded(source), prepared
            )
            return embedded.stored(storage).scorer(prepared)
        model, encoded = self.chain.model(stage), learner.encoded(stage)
        return TowerScorer(
            model.query_tower,
            encoded.query_tables,
            measure.embed(model, encoded, prepared),
            prepared.catalogue,
        )


class RankingSide(Side):
    """A finished ranking run."""

    task, flag, _export = "ranking", "--ranking_run", "ranking"
    _config, _chain = RankingConfig, RankingStages

    @property
    def parts(self) -> Any:
        """See `Side.parts`."""
        return self.chain.prepared.split.parts

    @cached_property
    def tables(self) -> ServingTables:
        """What is known of users and items at the end of training.

        Raises:
            UserError: the data have no users and items.
        """
        found = serving_tables(self.chain.prepared)
        if found is None or found.users is None:
            raise UserError(
                "`--ranking_run` should be of data with users and items. "
                f"Received: {self.run.directory} on "
                f"{self.run.config.data.dataset}, a log without them. Train "
                "on events of users with items."
            )
        return found

    def ranker(self, stage: str) -> TableRanker:
        """What ranks.

        Args:
            stage: "teacher" (all networks that teach, together), "litert",
                "shipped", or a stage with a model; it is done.

        Returns:
            A ranker in process, by features as of the end of training.
        """
        learner, tasks = self.chain.learner, self.chain.prepared.tasks
        source = stage
        if stage in ("litert", SHIPPED):
            source = stored_as(self.form)[0]
        if stage == "teacher":
            source, teacher = (
                next(iter(learner.members)),
                learner.teacher_factory.live,
            )
            inputs = learner.inputs(source)
            network = self._compiled(teacher.outputs, inputs)
        elif stage == "litert":
            inputs = learner.inputs(source)
            network = LiteRtRunner(self.litert_file).predict
        else:
            inputs = learner.inputs(source)
            made = self.form if stage == SHIPPED else stage
            network = self._compiled(self.chain.model(made), inputs)
        return TableRanker(network, tasks, self._served(inputs), self._all())

    @property
    def litert_file(self) -> Path:
        """The LiteRT file of what ships."""
        return self.run.directory / "export" / "litert" / LITERT_FILE

    def _compiled(self, outputs: Any, inputs: Inputs) -> Any:
        prepared = self.chain.prepared
        rows = {n: prepared.tables["test"][n] for n in inputs.names}
        return compiled_network(outputs, prepared.tasks, rows)

    def _served(self, inputs: Inputs) -> RankingInputs:
        """Also of columns for training alone, which no request has."""
        train = self.chain.prepared.split.train
        columns = tuple(
            RawColumn.of(f, self.chain.prepared.owners[f.name], x)
            for f in inputs.features
            for x in [train.table[f.name]]
        )
        named = {column.name: column for column in columns}
        return RankingInputs(
            columns,
            named.get(inputs.item_id) if inputs.history_length else None,
            inputs.history_length or 0,
        )

    def _all(self) -> ServingTables:
        """The tables, with the training-only columns of items left empty."""
        unknown = {
            column.name: np.nan
            for column in self.chain.prepared.split.train.columns
            if column.owner is Owner.ITEM
            and column.training_only
            and column.encoding is not Encoding.ID
        }
        if not unknown:
            return self.tables
        tables = self.tables
        return ServingTables(
            tables.items.assign(**unknown),
            tables.item_id,
            tables.users,
            tables.user_id,
            tables.histories,
        )


def check_same_data(retrieval: RetrievalSide, ranking: RankingSide) -> None:
    """Checks that two runs have learned from the same events.

    Raises:
        UserError: data or splits differ; the message names the flags.
    """
    prints = retrieval.fingerprint, ranking.fingerprint
    # Hashed ids are part of the schema, and change no event.
    hashed = ranking.run.config.data.hash_buckets is not None
    if None in prints or (prints[0] != prints[1] and not hashed):
        raise UserError(
            "`--retrieval_run` and `--ranking_run` should be on the same "
            "data. Received: the fingerprints "
            f"{' and '.join(str(p)[:12] for p in prints)}"
            f"{_differences(retrieval, ranking)}. Train both on the same "
            "events: a filter such as --min_label belongs to neither."
        )
    for part in ("train", "validation", "test"):
        if not _same_events(retrieval, ranking, part):
            raise UserError(
                "`--retrieval_run` and `--ranking_run` should have the same "
                f"split. Received: other {part} events"
                f"{_differences(retrieval, ranking)}. Train both with "
                "--split=time and the same shares."
            )


def _differences(retrieval: RetrievalSide, ranking: RankingSide) -> str:
    """Data flags of both tasks that are not the same."""
    one, other = (s.run.config.flat() for s in (retrieval, ranking))
    names = ("dataset", "split", "num_events", "min_user_events")
    names += ("min_item_events", "min_label", "pseudonym_key_file")
    different = [
        f"--{name} is {one.get(name)!r} and {other.get(name)!r}"
        for name in names
        if one.get(name) != other.get(name)
    ]
    return f" ({', '.join(different)})" if different else ""


def _same_events(
    retrieval: RetrievalSide, ranking: RankingSide, part: str
) -> bool:
    schema = retrieval.chain.prepared.interactions.schema
    keys = [schema.user_id, schema.item_id]
    if ranking.parts is None:
        return False
    one, other = (
        getattr(side.parts, part)[keys].sort_values(keys, ignore_index=True)
        for side in (retrieval, ranking)
    )
    return one.equals(other)
