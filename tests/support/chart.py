"""The objects that Helm renders from the chart with given values."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from tests.support.commands import require_command
from tests.support.paths import ROOT

CHART = ROOT / "deploy" / "helm" / "cake"
Document = dict[str, Any]
# The one in C is ten times as fast, but missing where PyYAML was built without it.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def run_helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The finished command, whatever its status."""
    in_venv = Path(sys.executable).with_name("helm")
    program = str(in_venv) if in_venv.exists() else require_command("helm")
    return subprocess.run([program, *arguments], check=False, capture_output=True, text=True)


def template(*options: str) -> list[Document]:
    """The objects of `helm template` with these options."""
    done = run_helm("template", "r", str(CHART), *options)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.load_all(done.stdout, Loader=_LOADER) if document]


def with_values(values: Document) -> list[str]:
    """Options that set these values; `{}` is one that changes nothing."""
    return [part for name, value in values.items() for part in ("--set-json", f"{name}={json.dumps(value)}")]


def of_kind(documents: list[Document], kind: str) -> list[Document]:
    return [document for document in documents if document["kind"] == kind]


def pods(documents: list[Document]) -> dict[str, Document]:
    """The pod specification of each component."""
    return {
        one["metadata"]["labels"]["app.kubernetes.io/component"]: one["spec"]["template"]["spec"]
        for one in of_kind(documents, "Deployment")
    }


def environment(pod: Document) -> dict[str, Document]:
    """The variables of a pod's container. Fails if one is given twice."""
    (container,) = pod["containers"]
    variables = {variable["name"]: variable for variable in container["env"]}
    assert len(variables) == len(container["env"]), container["env"]
    return variables
