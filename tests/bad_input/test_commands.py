"""Wrong arguments of plan, report and compare, wrong commands, and wrong environment variables."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.refusals import Refusals, missing

BOMB = "seed: [&b0 [x, x], " + ", ".join(f"&b{n} [{', '.join([f'*b{n - 1}'] * 9)}]" for n in range(1, 30)) + "]"


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ((), ("COMMAND",)),
        (("train",), ("train", "run")),
        (("Run",), ("Run", "run")),
        (("--run_all",), ("COMMAND",)),
        (("run",), ("nothing to run", "--run_all")),
        (("run", "--run_all", "false"), ("nothing to run", "--run_all")),
        (("plan", "--hardware", ""), ("--hardware", "not in the table", "a100-40gb")),
        (("plan", "--hardware", "a100"), ("--hardware a100", "not in the table", "a100-40gb")),
        (("plan", "--hardware", "A100-40GB"), ("--hardware A100-40GB", "not in the table")),
        (("plan", "--hardware", "a100-40gb:"), ("--hardware a100-40gb:", "a number from 1 to 99999")),
        (("plan", "--hardware", "a100-40gb:0"), ("--hardware a100-40gb:0", "a number from 1 to 99999")),
        (("plan", "--hardware", "a100-40gb:-1"), ("--hardware a100-40gb:-1", "a number from 1 to 99999")),
        (("plan", "--hardware", "a100-40gb:two"), ("--hardware a100-40gb:two", "a number from 1 to 99999")),
        (("plan", "--hardware", "a100-40gb:1.5"), ("a100-40gb:1.5", "a number from 1 to 99999")),
        (("plan", "--hardware", "a100-40gb:" + "9" * 5000), ("--hardware 'a100-40gb:999", "a number from 1 to 99999")),
        (("plan", "--hardware", "a100-40gb:100000000000"), ("a100-40gb:100000000000", "a number from 1 to 99999")),
        (("plan", "--hardware", "a100-40gb:8:8"), ("a100-40gb:8:8", "a number from 1 to 99999")),
        (("plan", "--hardware", ":8"), ("--hardware :8", "not in the table")),
        (("plan", "--hardware", "cpu:2"), ("--hardware cpu:2", "--cpu_workers")),
        (("plan", "--hardware", "a100-40gb:2", "--gpus", "2"), ("gpus='2'", "no GPU 2", "has 2")),
        (("plan", "--hardware", "a100-40gb", "--device", "cpu"), ("contradicts device='cpu'", "leave out one")),
        (("plan", "--hardware", "cpu", "--device", "cuda"), ("contradicts device='cuda'", "leave out one")),
        (("plan", "--hardware", "a100-40gb", "--cpu_workers", "2"), ("cpu_workers=2", "leave out one")),
        (("plan", "--hardware", "a100-40gb\n"), ("--hardware", "not in the table")),
        (("plan", "--alpha", "2"), ("alpha='2'", "less than or equal to 1")),
        (("report",), ("outputs/NAME",)),
        (("report", "none"), ("none: not the folder of an experiment", "give outputs/<experiment_name>")),
        (("report", ""), ("not the folder of an experiment", "give outputs/<experiment_name>")),
        (("report", "x" * 300), ("xxx", "give outputs/<experiment_name>")),
        (("report", "a\0b"), ("a\\x00b", "give outputs/<experiment_name>")),
        (("report", "FILE"), ("FILE: not the folder of an experiment",)),
        (("report", "EMPTY"), ("EMPTY: not the folder of an experiment",)),
        (("report", "EMPTY", "--lang", "de"), ("--lang", "de", "en", "zh")),
        (("report", "BROKEN"), ("BROKEN/config.yaml: not the settings that l2s wrote", "again")),
        (("report", "LATIN1"), ("LATIN1/config.yaml: not the settings that l2s wrote", "again")),
        (("report", "LIST"), ("LIST/config.yaml: not the settings that l2s wrote", "again")),
        (("report", "EDITED"), ("EDITED/config.yaml: not the settings that l2s wrote", "again")),
        (("report", "DEEP"), ("DEEP/config.yaml: not the settings that l2s wrote", "again")),
        (("report", "BOMB"), ("BOMB/config.yaml: not the settings that l2s wrote", "seed: Input should be", "again")),
        (("report", "HUGE"), ("HUGE/config.yaml: not the settings that l2s wrote", "8,388,608 bytes", "again")),
        (("kd", "--output_dir", "x" * 300), ("output_dir='xxx", "File name too long")),
        (("evaluate", "--output_dir", "x/" * 3000), ("output_dir='x/x", "File name too long")),
        (("run", "--no\x1b[2J\nflag"), ("no such flag", "⟨U+1B⟩")),
        (("report", "FOLDER"), ("FOLDER/config.yaml: not the settings that l2s wrote", "again")),
        (("compare", "EMPTY"), ("outputs/B",)),
        (("compare", "EMPTY", "EMPTY"), ("EMPTY: not the folder of an experiment",)),
        (("compare", "a", "b", "c"), ("c", "no such flag")),
        (("sft", "--run_all"), ("--run_all", "`l2s sft` does not take it")),
        (("evaluate", "--seed", "x"), ("seed='x'", "must be a valid integer")),
        (("check", "--device", "tpu"), ("device='tpu'", "'auto', 'cpu' or 'cuda'")),
        (("score", "--teacher_signal", "online"), ("teacher_signal='online'", "hidden or topk")),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, tuple) else None,
)
def test_a_wrong_command_is_refused_in_one_line(
    refuse: Refusals, argv: tuple[str, ...], words: tuple[str, ...]
) -> None:
    write_folders()
    line = refuse.line(*argv)
    assert missing(words, line) == [], line


def write_folders() -> None:
    Path("FILE").write_text("text")
    Path("EMPTY").mkdir()
    contents = {
        "BROKEN": b"alpha: [", "LATIN1": b"alpha: \xff", "LIST": b"- alpha", "EDITED": b"alpha: 7\n",
        "DEEP": b"[" * 100_000, "BOMB": BOMB.encode(), "HUGE": b"#" * (8 << 20) + b"\n",
    }  # fmt: skip
    for name, content in contents.items():
        Path(name).mkdir()
        (Path(name) / "config.yaml").write_bytes(content)
    Path("FOLDER/config.yaml").mkdir(parents=True)


@pytest.mark.parametrize(
    ("name", "value", "argv", "words"),
    [
        ("L2S_DATA", "/no/such/folder", (), ("L2S_DATA", "'/no/such/folder'", "no such folder", "gsm8k/")),
        ("L2S_DATA", "FILE", (), ("L2S_DATA", "'FILE'", "no such folder")),
        ("L2S_DATA", "~no_such_user_here/x", (), ("L2S_DATA", "'~no_such_user_here/x'", "no such folder")),
        ("L2S_ENDPOINT_KEY", "k\ney", ("--engine", "endpoint"), ("L2S_ENDPOINT_KEY", "the key alone")),
        ("L2S_ENDPOINT_KEY", "schlüssel", ("--engine", "endpoint"), ("L2S_ENDPOINT_KEY", "the key alone")),
        ("L2S_ENDPOINT_KEY", "key", ("--engine", "endpoint", "--teacher_endpoint", "http://h/v1"), ("unencrypted",)),
    ],
)
def test_a_wrong_variable_is_refused_in_one_line(
    refuse: Refusals,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    value: str,
    argv: tuple[str, ...],
    words: tuple[str, ...],
) -> None:
    write_folders()
    monkeypatch.setenv(name, value)
    url = ("--teacher_endpoint", "https://localhost:1/v1") if argv else ()
    line = refuse.line("run", "--run_all", "--arms", "sft", *url, *argv)
    assert missing(words, line) == [], line
    assert "schlüssel" not in line
