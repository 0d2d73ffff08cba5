"""No shell, no pickle from outside, no source text run as code: what l2s/ may not call, found in its syntax trees."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "l2s"
FORBIDDEN = {
    "os.system", "os.popen", "pickle.load", "pickle.loads", "pickle.Unpickler", "marshal.load", "marshal.loads",
    "shelve.open", "joblib.load", "yaml.load", "yaml.full_load", "yaml.unsafe_load", "eval", "exec", "__import__",
    "tempfile.mktemp",
}  # fmt: skip
# They run programs and their tests, and import the standard types of a fixed table: that is their work.
CONFINED = ("sandbox/child/worker.py", "sandbox/child/tester.py", "sandbox/child/standard.py")


def violations(source: str, name: str = "x.py") -> list[str]:
    """`line: call` of every call in `source` that is not allowed."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        named = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords if keyword.arg}
        wrong = called in FORBIDDEN and not (called in ("exec", "__import__") and name.endswith(CONFINED))
        wrong |= named.get("shell", "False") != "False"
        wrong |= called == "torch.load" and named.get("weights_only") != "True"
        wrong |= called.endswith("np.load") and named.get("allow_pickle", "False") != "False"
        if wrong:
            found.append(f"{node.lineno}: {called}")
    return found


@pytest.mark.parametrize("file", sorted(PACKAGE.rglob("*.py")), ids=lambda file: str(file.relative_to(PACKAGE)))
def test_nothing_from_outside_is_run(file: Path) -> None:
    assert violations(file.read_text(encoding="utf-8"), file.as_posix()) == []


@pytest.mark.parametrize(
    "source",
    [
        "subprocess.run('ls', shell=True)", "os.system('ls')", "pickle.load(file)", "torch.load(file)",
        "torch.load(file, weights_only=False)", "yaml.load(text)", "eval(text)", "exec(text)",
        "np.load(file, allow_pickle=True)", "subprocess.Popen(x, shell=flag)",
    ],
)  # fmt: skip
def test_each_kind_is_found(source: str) -> None:
    assert len(violations(source)) == 1


def test_what_is_allowed_passes() -> None:
    assert violations("torch.load(f, weights_only=True)\nyaml.safe_load(t)\nsubprocess.run(['ls'])\nmodel.eval()") == []
