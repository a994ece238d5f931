"""--help: every flag, in the group it belongs to."""

import sys

import console
import distill
import pytest
import recommend

from kd_tfrs.workflow.retrieval.config import Config


def help_of(script, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [script.__file__, "--help"])
    with pytest.raises(SystemExit) as end:
        console.main(script.run, script.GROUPS, script.__doc__)
    assert end.value.code in (0, None)
    printed = capsys.readouterr()
    assert not printed.err
    return printed.out


def test_distill_lists_every_option_once(monkeypatch, capsys):
    text = help_of(distill, monkeypatch, capsys)
    for name in (*Config().flat(), "run_dir", "seeds", "stages"):
        assert text.count(f"\n  --{name}: ") == 1, name


def test_options_stand_in_their_groups(monkeypatch, capsys):
    text = help_of(distill, monkeypatch, capsys)
    places = [
        text.index(word)
        for word in (
            "\nRun\n---",
            "\n  --run_dir: ",
            "\nWhat is read",
            "\n  --dataset: ",
            "\nTeacher towers:",
            "\n  --teacher_embedding_dim: ",
            "\nDistillation:",
            "\n  --distillation_top_k: ",
            "\nEvaluation:",
            "\n  --eval_monitor: ",
        )
    ]
    assert places == sorted(places)


def test_defaults_and_choices_are_told(monkeypatch, capsys):
    text = " ".join(help_of(distill, monkeypatch, capsys).split())
    assert "(default: 'synthetic')" in text
    assert "One of: auto, top_k, ranked, in_batch, sampled, all." in text
    assert "python experiments/distill.py --dataset=movielens-100k" in text
    assert "--flagfile=PATH" in text


def test_lines_fit_a_terminal(monkeypatch, capsys):
    for script in (distill, recommend):
        text = help_of(script, monkeypatch, capsys)
        assert max(map(len, text.splitlines())) <= 80


def test_recommend_tells_its_flags(monkeypatch, capsys):
    text = help_of(recommend, monkeypatch, capsys)
    for name in ("export_dir", "user_id", "item_ids", "k", "exclude"):
        assert f"\n  --{name}: " in text


def test_flags_make_the_config_they_describe():
    # Flags are parsed by the tests above or not at all: ask for defaults.
    distill.FLAGS.mark_as_parsed()
    assert console.config_from_flags() == Config()
