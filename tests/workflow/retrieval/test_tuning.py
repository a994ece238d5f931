"""The validations that a search gets of a retrieval training."""

import pytest

from kd_tfrs.workflow.retrieval.config import Config
from kd_tfrs.workflow.retrieval.learner import Learner
from kd_tfrs.workflow.retrieval.prepare import prepare
from kd_tfrs.workflow.run import Run
from kd_tfrs.workflow.tuning import train_reporting


@pytest.mark.parametrize("every", [1, 2])
def test_a_killed_training_reports_all_its_epochs(every, tiny, tmp_path):
    epochs = 5
    config = Config.from_flat(
        {
            **tiny,
            "num_events": 600,
            "student_epochs": epochs,
            "student_features": "ids",
            "teacher_features": "ids",
            "eval_validate_every": every,
        }
    )
    prepared = prepare(config.data, config.evaluation, config.seed)

    def train(directory, kill_at=None):
        found = []

        def report(epoch, value):
            found.append((epoch, value))
            if epoch == kill_at:
                raise KeyboardInterrupt

        run = Run(directory, config, log=False)
        try:
            train_reporting(Learner(run, prepared), "student", report)
        finally:
            run.close()
        return found

    unbroken = train(tmp_path / "unbroken")
    validated = [e for e in range(1, epochs + 1) if not e % every or e == 5]
    assert [epoch for epoch, _ in unbroken] == validated
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "killed", kill_at=4)
    assert train(tmp_path / "killed") == unbroken
