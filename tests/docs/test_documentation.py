"""Every command, code block and link of the documentation is valid."""

import ast
import importlib
import json
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from service.cli.cameras import read_cameras
from service.cli.main import app
from tests.support.commands import require_command
from tests.support.paths import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("model/weights/*/README.md")])
EXAMPLES = sorted(path for path in (ROOT / "examples").iterdir() if path.is_file())
FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LANGUAGES = {"sh", "python", "json", "yaml", "text", "mermaid", "ini", "javascript", "csv"}
COMMAND = get_command(app)


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(page: Path, language: str) -> list[str]:
    return [text for kind, text in FENCE.findall(page.read_text()) if kind == language]


def joined_lines(shell: str) -> list[str]:
    return shell.replace("\\\n", " ").splitlines()


def cake_commands(page: Path) -> tuple[list[str], list[str]]:
    """Each `cake …` in the page's shell blocks, and each that is mentioned in a sentence."""
    text = page.read_text()
    found: list[str] = []
    if page.suffix == ".md":
        lines = [line for shell in blocks(page, "sh") for line in joined_lines(shell)]
        spans = re.findall(r"`(cake [^`\n]+)`", FENCE.sub("", text))
    else:
        lines, spans = [], re.findall(r"`(cake [^`\n]+)`", text)
    for line in lines:
        code = line.split(" #")[0]
        found += re.findall(r"(?:^|[;&|(] *|[A-Z_]+=\S+ +)(cake [^;&|)>]*)", code.strip())
    return [command.strip() for command in found], spans


def check_command(text: str, *, is_complete: bool) -> None:
    """Raise AssertionError unless the subcommand, its options and the number of its arguments are those of `cake`.

    A mention that is not complete may leave out required options and the value of its last option.
    """
    command: Any = COMMAND
    rest = [part for part in shlex.split(text.partition(" > ")[0])[1:] if not set(part) & set("…[]")]
    while hasattr(command, "get_command") and rest and not rest[0].startswith("-"):
        name = rest.pop(0)
        command = command.get_command(None, name)
        assert command is not None, f"{text}: no command {name}"
    options = {name: param for param in command.params for name in param.opts if name.startswith("-")}
    required = {param.name for param in command.params if param.required}
    places = [param for param in command.params if not param.opts[0].startswith("-")]
    while rest:
        part, _, value = rest.pop(0).partition("=")
        if not part.startswith("-") or part == "-":
            assert places, f"{text}: unexpected {part}"
            required -= {places[0].name}
            if places[0].nargs != -1:
                places.pop(0)
            continue
        assert part in options or part == "--help", f"{text}: no option {part}"
        if part in options and not options[part].is_flag and not value:
            assert rest or not is_complete, f"{text}: {part} needs a value"
            rest = rest[1:]
        required -= {options[part].name} if part in options else required
    assert not required or not is_complete, f"{text}: missing {required}"


@pytest.mark.parametrize("page", [*PAGES, *EXAMPLES], ids=name_of)
def test_every_cake_command_of_a_page_is_one(page: Path) -> None:
    commands, mentions = cake_commands(page)
    for text in commands:
        check_command(text, is_complete=True)
    for text in mentions:
        check_command(text, is_complete=False)


def test_a_wrong_command_a_wrong_option_or_a_missing_one_would_be_found() -> None:
    for text in ("cake serv", "cake serve --prot 1", "cake keys create --name a --scope", "cake synth compose --out x"):
        with pytest.raises(AssertionError):
            check_command(text, is_complete=True)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_code_block_names_its_language_and_is_valid(page: Path, tmp_path: Path) -> None:
    for language, text in FENCE.findall(page.read_text()):
        assert language in LANGUAGES, f"{language!r}: {text[:40]}"
        match language:
            case "json":
                json.loads(text)
            case "yaml":
                yaml.safe_load(text)
            case "python":
                check_python(text)
            case "sh":
                done = subprocess.run(["bash", "-n"], input=text, text=True, check=False, capture_output=True)
                assert done.returncode == 0, done.stderr
            case "csv":
                cameras = tmp_path / "cameras.csv"
                cameras.write_text(text)
                assert read_cameras(cameras)
            case "mermaid":
                assert re.match(r"(flowchart|sequenceDiagram|stateDiagram)", text)


def check_python(text: str) -> None:
    """It compiles, and what it imports exists."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.module:
            module = importlib.import_module(node.module)
            assert all(hasattr(module, alias.name) for alias in node.names), ast.unparse(node)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                importlib.import_module(alias.name)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_make_target_of_a_page_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = re.findall(r"(?:`|^)make ([a-z][a-z-]*)", page.read_text(), re.MULTILINE)
    assert set(named) <= targets


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_inside_the_repository_leads_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE)
            anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in anchors, link


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_file_that_is_named_in_code_exists(page: Path) -> None:
    named = re.findall(r"`((?:service|model|tests|docs|deploy|examples|docker|samples)/[\w./-]+)`", page.read_text())
    assert not [path for path in named if not (ROOT / path).exists()]


def test_the_javascript_example_is_valid() -> None:
    subprocess.run([require_command("node"), "--check", ROOT / "examples" / "follow.mjs"], check=True)


def test_every_page_of_the_documentation_can_be_reached_from_the_readme() -> None:
    linked = set(re.findall(r"\((docs/[\w-]+\.md)\)", (ROOT / "README.md").read_text()))
    assert linked == {name_of(page) for page in PAGES if page.parent == ROOT / "docs"}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_variable_of_ours_that_is_named_exists(page: Path) -> None:
    from service.setting_groups.syntax import variable
    from service.settings import Settings

    known = {variable(name) for name in Settings.model_fields}
    known |= {
        "CAKE_TORCH_INDEX",
        "CAKE_SERVER",
        "CAKE_KEY",
        "CAKE_WEBHOOK_SECRET",
        "CAKE_CAMERA_PASSWORD",
        "CAKE_MINIO_PASSWORD",
    }
    assert set(re.findall(r"\bCAKE_[A-Z][A-Z_]*[A-Z]\b", page.read_text())) <= known
