"""Any teacher as a scorer, so that it is measured as every stage is."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from kd_tfrs.distillation.retrieval import Teacher
from kd_tfrs.errors import UserError
from kd_tfrs.evaluation.catalogue import CatalogueScorer
from kd_tfrs.workflow.retrieval.prepare import Prepared


class TeacherScorer(CatalogueScorer):
    """Recommends what a teacher scores highest.

    An unknown user is the teacher's row 0.

    Args:
        teacher: any teacher over the rows of `prepared.catalogue`.
        prepared: for the raw ids of the rows.

    Raises:
        UserError: the teacher has other rows.

    Example:
    ```python
    data.test.evaluate(TeacherScorer(teacher, data)).metrics["ndcg@20"]
    ```
    """

    def __init__(self, teacher: Teacher, prepared: Prepared) -> None:
        catalogue = prepared.catalogue
        expected = (catalogue.num_users + 1, catalogue.num_items)
        found = (teacher.num_queries, teacher.num_candidates)
        if found != expected:
            raise UserError(
                "`teacher` should have a row for the unknown user and each "
                f"user and item: {expected[0]:,} and {expected[1]:,}. "
                f"Received: {found[0]:,} and {found[1]:,}. Order its inputs "
                "as the catalogue does."
            )
        super().__init__(catalogue.user_ids, catalogue.item_ids)
        self._teacher = teacher

    def catalogue_scores(self, users: np.ndarray) -> np.ndarray:
        """See `CatalogueScorer`; the rows of items are in its order."""
        rows = tf.constant(users + 1, tf.int32)
        return np.array(self._teacher.all_scores(rows), np.float32)
