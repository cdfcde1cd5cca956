"""README and docs/: links lead somewhere, pictures are small, and CI runs the command that README shows."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "benchmarks" / "README.md", *ROOT.glob("docs/*.md")]
LINK = re.compile(r"\]\(([^)\s]+)\)")


def anchors(text):
    """Return the anchors that GitHub makes of headings."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(document):
    text = document.read_text()
    links = [link for link in LINK.findall(text) if not link.startswith("http")]
    for link in links:
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        assert target.exists(), link
        assert not anchor or anchor in anchors(target.read_text()), link


def test_readme_leads_to_all_documents():
    linked = {(ROOT / link).resolve() for link in LINK.findall((ROOT / "README.md").read_text())}
    assert set(DOCUMENTS[1:]) <= linked


def test_ci_runs_the_test_command_of_readme():
    command = "pip install -e '.[test]' && python -m pytest"
    assert command in (ROOT / "README.md").read_text().splitlines()
    assert command in (ROOT / ".ci" / "run").read_text().splitlines()


def test_pictures_are_small():
    pictures = list(ROOT.glob("docs/images/*.png"))
    assert {path.stem for path in pictures} >= {"hero", "portrait", "slide", "galaxies", "page"}
    assert max(path.stat().st_size for path in pictures) < 300_000
