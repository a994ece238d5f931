"""README.md and docs/ say what the code does and what was measured."""

import importlib
import json
import pathlib
import re
import subprocess
import sys

import pytest

from kd_tfrs.workflow.pipeline.config import PipelineConfig
from kd_tfrs.workflow.ranking.config import RankingConfig
from kd_tfrs.workflow.retrieval.config import Config

ROOT = pathlib.Path(__file__).parents[1]
README = ROOT / "README.md"
RESULTS = ROOT / "experiments" / "results"
sys.path.insert(0, str(ROOT / "experiments"))
pages = importlib.import_module("pages")

PAGES = pages.pages(ROOT)
# Pages whose links are checked as well.
LINKING = [
    *PAGES,
    ROOT / "BUILD.md",
    RESULTS / "README.md",
    *sorted((ROOT / "kd_tfrs").rglob("README.md")),
]
# Words that models are not described with.
_BANNED = "hears?|heard|told|loud|lessons?|listens?|speaks?|asks"


def name_of(path):
    return str(path.relative_to(ROOT))


def marked():
    """Every marked part of every page, as parameters of a test."""
    return [
        pytest.param(page, part, id=f"{page.name}-{part.kind}-{part.source}")
        for page in PAGES
        for part in pages.parts(page.read_text())
    ]


def code(page, language):
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.S)


def joined(text):
    """Commands with their continued lines in one."""
    return re.sub(r"\s*\\\n\s*", " ", text)


def test_the_example_runs_as_it_stands(tmp_path):
    blocks = code(README, "python")
    assert len(blocks) == 1
    lines = [line for line in blocks[0].splitlines() if line.strip()]
    assert len(lines) <= 15

    done = subprocess.run(
        [sys.executable, "-c", blocks[0]],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert re.search(r"saved_model +0\.\d+ +0\.\d+ +\d+\.\d+", done.stdout)
    assert (tmp_path / "models/films/1/saved_model.pb").is_file()


def test_the_readme_is_short():
    text = README.read_text()
    assert len(text.split()) <= 900
    outside = re.sub(r"<!-- table.*?<!-- end -->", "", text, flags=re.S)
    tables = len(re.findall(r"<!-- table: ", text))
    tables += len(re.findall(r"^\|[ :|-]+\|$", outside, re.M))
    assert tables <= 3


@pytest.mark.parametrize(("page", "part"), marked())
def test_a_marked_part_is_that_of_the_results(page, part):
    """Nobody types a figure: each part is a file that a run has written."""
    expected = pages.written(part.kind, part.source, RESULTS)
    # Not even a part that waits for its run may hold a figure.
    assert part.content == expected
    if not expected:
        pytest.skip(f"{part.source} has no {part.kind} yet")


@pytest.mark.parametrize(("page", "part"), marked())
def test_the_command_stands_above_its_result(page, part):
    file = RESULTS / pathlib.Path(part.source).parts[0] / "command.txt"
    if not file.is_file():
        if part.kind == "table" and part.content:
            # Of a benchmark: the page itself names the script.
            stem = pathlib.Path(part.source).stem
            assert f"benchmarks/{stem}.py" in part.before
            return
        pytest.skip(f"{part.source} has no command.txt")
    command = file.read_text().strip()
    shown = joined(part.before + part.content)
    before_table = re.split(r"```text|^\|", shown[len(joined(part.before)) :])
    assert command in joined(part.before) + before_table[0]


def test_the_closing_sentence_is_that_of_the_run():
    found = json.loads((RESULTS / "synthetic" / "metrics.json").read_text())
    if not found.get("sentence"):
        pytest.skip("the published run is older than the sentence")
    text = " ".join(README.read_text().replace("\n> ", " ").split())
    assert found["sentence"] in text


def test_a_table_keeps_its_baseline_and_the_student_alone():
    tables = [
        part
        for page in PAGES
        for part in pages.parts(page.read_text())
        if part.kind == "table" and "stages" in part.source and part.content
    ]
    assert tables
    for table in tables:
        first = {
            re.split(r"  +| \| ", line.strip("| "))[0]
            for line in table.content.splitlines()
            if line.strip()
        }
        assert "student" in first, table.source
        assert first & {"popularity", "prior"}, table.source


@pytest.mark.parametrize("page", LINKING, ids=name_of)
def test_what_a_page_links_to_exists(page):
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.S)
    links = re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", text)
    for link in links:
        if link.startswith(("http://", "https://")):
            continue
        name, _, heading = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        if heading:
            titles = re.findall(r"^#+ (.*)$", target.read_text(), re.M)
            assert heading in map(slug, titles), link


def slug(title):
    """The anchor that GitHub gives to a heading."""
    plain = re.sub(r"[^\w\- ]", "", title.lower())
    return plain.replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_flags_of_a_page_exist(page):
    scripts = (ROOT / "experiments").glob("**/*.py")
    known = {
        name
        for script in scripts
        for name in re.findall(
            r"DEFINE_\w+\(\s*\"(\w+)\"|DEFINE_alias\(\"(\w+)\"",
            script.read_text(),
        )
        for name in name
    }
    for kind in (Config, RankingConfig, PipelineConfig):
        known |= set(kind().flat())
    known |= {"help", "flagfile"}
    # TensorFlow Serving's own.
    known |= {"model_name", "model_base_path"}
    for name in re.findall(r"(?<![\w-])--(\w+)", page.read_text()):
        if name.endswith("_"):  # as in `--teacher_*`
            assert any(flag.startswith(name) for flag in known), name
            continue
        assert {name, name.removeprefix("no")} & known, name


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_python_of_a_page_compiles(page):
    for block in code(page, "python"):
        compile(block, page.name, "exec")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_pages_are_in_plain_words(page):
    text = re.sub(r"```.*?```|`[^`]*`", "", page.read_text(), flags=re.S)
    assert not re.findall(rf"\b(?:{_BANNED})\b", text, re.I)


def test_every_page_is_in_the_index():
    index = (ROOT / "docs" / "README.md").read_text()
    for page in (ROOT / "docs").glob("*.md"):
        assert page.name == "README.md" or f"({page.name})" in index
