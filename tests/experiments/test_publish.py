"""What a page holds of the results, and the script that writes it."""

import json

import pages
import publish
import pytest

from kd_tfrs.errors import UserError

TABLE = "stage  auc\n-----  ----\nalone  0.70\n"
PAGE = """# Title

<!-- table: first/stages.txt -->
stale
<!-- end -->
Between.
<!-- table: first/all/stages.md -->
<!-- end -->
<!-- tests: first/all/stages.md -->
<!-- end -->
<!-- file: first/all/stages.md -->
<!-- end -->
<!-- sentence: first/metrics.json -->
<!-- end -->
<!-- table: later/stages.txt -->
a figure
<!-- end -->
"""


@pytest.fixture
def root(tmp_path):
    """A repository with a page and the results of one run."""
    (tmp_path / "README.md").write_text(PAGE)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "more.md").write_text("No parts.\n")
    run = tmp_path / "results" / "first"
    (run / "all").mkdir(parents=True)
    (run / "command.txt").write_text("make run\n")
    (run / "stages.txt").write_text(TABLE)
    (run / "all" / "stages.md").write_text(
        "# One\n\n| a |\n| -- |\n| 1 |\n\n* x: y\n* z\n\n| b |\n"
    )
    (run / "metrics.json").write_text(json.dumps({"sentence": "It works."}))
    return tmp_path


def test_a_page_is_written_anew(root):
    changed = pages.refresh(root, root / "results")

    # The page without parts stays as it is.
    assert changed == [root / "README.md"]
    command = "```bash\nmake run\n```\n\n"
    assert (
        changed[0].read_text()
        == f"""# Title

<!-- table: first/stages.txt -->
{command}```text
{TABLE}```
<!-- end -->
Between.
<!-- table: first/all/stages.md -->
{command}| a |
| -- |
| 1 |
<!-- end -->
<!-- tests: first/all/stages.md -->

* x: y
* z
<!-- end -->
<!-- file: first/all/stages.md -->
{command}| a |
| -- |
| 1 |

* x: y
* z

| b |
<!-- end -->
<!-- sentence: first/metrics.json -->
> It works.
<!-- end -->
<!-- table: later/stages.txt -->
<!-- end -->
"""
    )
    # What is there already is left alone.
    assert pages.refresh(root, root / "results") == []


def test_a_long_command_has_several_lines_that_are_one():
    command = "python x.py " + " ".join(f"--flag_{i}=value" for i in range(9))
    lines = pages.wrapped(command).split(" \\\n")
    assert len(lines) > 1
    assert all(len(line) <= 77 for line in lines)
    assert " ".join(line.strip() for line in lines) == command


def test_publishing_copies_the_findings_and_writes_pages_anew(
    root, monkeypatch, capsys
):
    run_dir = root / "runs" / "mine"
    run_dir.mkdir(parents=True)
    (run_dir / "metrics.json").write_text("{}")
    (run_dir / "stages.txt").write_text("published\n")
    (run_dir / "weights.npz").write_text("")
    monkeypatch.setattr(publish, "RESULTS", root / "results")
    monkeypatch.setattr(pages, "ROOT", root)
    monkeypatch.setattr(pages, "RESULTS", root / "results")

    publish.publish(str(run_dir), "later", "make run")
    publish.refresh()

    later = root / "results" / "later"
    names = sorted(path.name for path in later.iterdir())
    assert names == ["command.txt", "metrics.json", "stages.txt"]
    assert "```text\npublished\n```" in (root / "README.md").read_text()
    assert "pages written anew: README.md" in capsys.readouterr().out


@pytest.mark.parametrize("missing", ["run_dir", "name", "command"])
def test_a_run_a_name_and_a_command_are_needed(missing):
    given = {"run_dir": "runs/x", "name": "x", "command": "make run"}
    with pytest.raises(UserError, match=f"`--{missing}` should be given"):
        publish.publish(**given | {missing: None})
