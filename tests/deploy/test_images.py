"""The images that the deployments use are pinned by digest."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.support.paths import ROOT

FILES = ("docker/Dockerfile", "docker-compose.yml")
DIGEST = re.compile(r"@sha256:[0-9a-f]{64}$", re.MULTILINE)


def named_images(folder: Path) -> list[str]:
    texts = [(folder / file).read_text() for file in FILES]
    return [image for text in texts for image in re.findall(r"^(?:ARG \w+_IMAGE=| +image: )(\S+)$", text, re.MULTILINE)]


def copied_deployment(folder: Path) -> Path:
    shutil.copytree(ROOT / "docker", folder / "docker")
    shutil.copy(ROOT / "docker-compose.yml", folder)
    return folder


def remove_digests(folder: Path) -> None:
    for file in FILES:
        path = folder / file
        path.write_text(DIGEST.sub("", path.read_text()))


def pin(folder: Path, docker: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run pin_images.py with a `docker` that is this shell script."""
    program = folder / "bin" / "docker"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f"#!/bin/sh\n{docker}\n")
    program.chmod(0o755)
    command = [sys.executable, str(folder / "docker" / "pin_images.py"), *options]
    environ = {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}"}
    return subprocess.run(command, check=False, capture_output=True, text=True, env=environ)


def test_every_image_is_pinned_by_digest() -> None:
    named = named_images(ROOT)
    assert named
    assert [image for image in named if not DIGEST.search(image)] == []


def test_every_stage_builds_on_a_named_image_or_another_stage() -> None:
    dockerfile = (ROOT / "docker" / "Dockerfile").read_text()
    bases = set(re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE))
    assert bases <= {"${PYTHON_IMAGE}", *re.findall(r"^FROM \S+ AS (\S+)$", dockerfile, re.MULTILINE)}


def test_the_server_image_can_start_a_server_and_read_an_uploaded_model() -> None:
    dockerfile = (ROOT / "docker" / "Dockerfile").read_text()
    stage = dockerfile.partition("AS build-api")[2].partition("\nFROM ")[0]
    removed = {
        name for names in re.findall(r"pip uninstall -y (.+?)(?: \\)?$", stage, re.MULTILINE) for name in names.split()
    }
    assert "openvino" in removed
    program = (
        "import sys\n"
        f"sys.modules.update(dict.fromkeys({sorted(removed)}))\n"
        "import service.api.server\n"
        "from model.checkpoints.folders import available_models, find_checkpoint\n"
        "from service.storage.model_archive import FILES, model_in\n"
        "folder = find_checkpoint(available_models()[0])\n"
        "files = {name: (folder / name).read_bytes() for name in FILES if (folder / name).is_file()}\n"
        "model_in(files, 'uploaded', where='folder')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_images_are_pinned_and_later_updated(tmp_path: Path) -> None:
    folder = copied_deployment(tmp_path)
    remove_digests(folder)
    tags = named_images(folder)
    for digit in "ab":
        done = pin(folder, f"""echo '{{"digest": "sha256:{digit * 64}", "size": 1}}'""")
        assert done.returncode == 0, done.stderr
        assert named_images(folder) == [f"{image}@sha256:{digit * 64}" for image in tags]


def test_a_release_needs_a_digest_of_every_image(tmp_path: Path) -> None:
    folder = copied_deployment(tmp_path)
    compose = folder / "docker-compose.yml"
    assert pin(folder, "exit 1", "--check").returncode == 0
    compose.write_text(re.sub(r"(redis:\S+)@\S+", r"\1", compose.read_text()))
    refused = pin(folder, "exit 1", "--check")
    assert refused.returncode == 1
    assert "redis:" in refused.stderr
    assert "python" not in refused.stderr


def test_no_image_is_pinned_while_a_registry_does_not_answer(tmp_path: Path) -> None:
    folder = copied_deployment(tmp_path)
    before = [(folder / file).read_text() for file in FILES]
    done = pin(
        folder, """case "$*" in *redis*) echo 'no such host' >&2; exit 1;; esac; echo '{"digest": "sha256:0"}'"""
    )
    assert done.returncode == 1
    assert re.search(r"redis:\S+: no such host", done.stderr)
    assert [(folder / file).read_text() for file in FILES] == before
