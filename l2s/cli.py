"""argv -> ExperimentConfig -> the command. Nothing heavy is imported before the arguments are valid."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from pydantic.fields import FieldInfo

from l2s import __version__
from l2s.config import LISTS, ExperimentConfig, choices, expand_home, resolve_config, suggest
from l2s.durable import WriteError
from l2s.errors import UserError, no_permission
from l2s.interrupts import signals_raise
from l2s.presets import PRESETS
from l2s.terminal import protect_output
from l2s.visible import in_one_line, visible

STAGE_COMMANDS = {
    "prepare": {"run_prepare": True},
    "generate": {"run_generate": True},
    "score": {"run_score": True},
    "sft": {"run_sft": True},
    "kd": {"run_kd": True},
    "opd": {"run_opd": True},
    "evaluate": {"run_eval": True},
}
RUN_FLAGS = tuple(name for name in ExperimentConfig.model_fields if name.startswith("run_"))
GROUPS = {  # the first field of each group -> the group's title in --help
    "experiment_name": "what to run",
    "teacher_model": "models",
    "device": "devices",
    "engine": "engines",
    "mix_versions": "versions, code and prompts",
    "output_dir": "folders and seeds",
    "domains": "data",
    "max_new_tokens": "the teacher's answers",
    "max_length": "sequences",
    "tuning": "training",
    "sft_epochs": "SFT",
    "kd_init": "KD",
    "opd_steps": "OPD",
    "eval_batch_size": "evaluation and report",
}
RUNS_NOTHING = ("check", "plan")  # these commands start no stage, so --force and --dry_run mean nothing to them
STOPPED = (128 + signal.SIGTERM, 128 + signal.SIGHUP)  # exit statuses


class Once(argparse.Action):
    """Refuses a flag that is given twice: of two lists, argparse would take the last and drop the first."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option_string: Any = None
    ) -> None:
        """Keep the value of the first."""
        if getattr(namespace, self.dest, None) is not None:
            fix = "separate names by commas" if self.dest in LISTS else "leave one out"
            parser.error(f"{option_string} {in_one_line(str(values))}: {option_string} was given before; {fix}")
        setattr(namespace, self.dest, values)


class OneLineParser(argparse.ArgumentParser):
    """Reports a wrong argument in one line and exits with status 2."""

    def error(self, message: str) -> NoReturn:
        """Print `message` as one line and exit."""
        print(f"{self.prog}: {in_one_line(message)}", file=sys.stderr)
        raise SystemExit(2)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Refuse unknown flags here: argparse leaves them to the parent parser, which cannot name the command."""
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            name = unknown[0].lstrip("-").split("=")[0]
            elsewhere = name in ExperimentConfig.model_fields or name in ("force", "dry_run")
            reason = f"`{self.prog}` does not take it; leave it out" if elsewhere else f"no such flag{suggest(name)}"
            self.error(f"{unknown[0]}: {reason}")
        return found, unknown


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status.

    0: done. 1: a failure. 2: the user's error. 130: interrupted. A run that SIGTERM or SIGHUP ends raises SystemExit
    with 143 or 129.
    """
    protect_output()
    arguments = argparse.Namespace(command="")
    try:
        with signals_raise():
            arguments = _parser().parse_args(sys.argv[1:] if argv is None else argv)
            handler: Callable[[argparse.Namespace], int] = arguments.handler
            return handler(arguments)
    except UserError as error:
        print(f"l2s {arguments.command}: {visible(str(error))}", file=sys.stderr)
        return 2
    except WriteError as error:
        from l2s.runner.disk_space import explain_run

        print(f"l2s {arguments.command}: {visible(explain_run(error))}", file=sys.stderr)
        return 2
    except PermissionError as error:
        print(f"l2s {arguments.command}: {visible(no_permission(error))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        _say_how_to_resume(arguments)
        return 130
    except SystemExit as end:
        if end.code in STOPPED:
            _say_how_to_resume(arguments)
        raise


def _say_how_to_resume(arguments: argparse.Namespace) -> None:
    again = "the same command without --force" if getattr(arguments, "force", False) else "the same command"
    print(f"\nl2s: interrupted; {again} resumes here", file=sys.stderr)


def _parser() -> OneLineParser:
    parser = OneLineParser(
        prog="l2s", description="Distil a large language model into a small one and compare them on the same tasks."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=OneLineParser)
    helps = {"run": "run an experiment, or only the stages of the --run_* flags"}
    for name, flags in STAGE_COMMANDS.items():
        helps[name] = str(ExperimentConfig.model_fields[next(iter(flags))].description)
    helps |= {"check": "check packages, devices, models and data, and run a tiny experiment"}
    helps |= {"plan": "estimate memory, time and disk of every stage without running anything"}
    for name, text in helps.items():
        usage = f"l2s {name} [--flag VALUE ...]"
        command = commands.add_parser(name, help=text, usage=usage, allow_abbrev=False)
        _add_experiment_flags(command, name)
        if name == "plan":
            command.add_argument(
                "--hardware",
                default="this",
                metavar="NAME[:N]",
                help="plan for this hardware: p4d.24xlarge:2, a100-40gb:8, h100-80gb, cpu, or this machine [this]",
            )
            command.add_argument("--details", action="store_true", help="show what fills the memory of a device")
    report = commands.add_parser(
        "report", help="rebuild the reports of an experiment from its files", allow_abbrev=False
    )
    report.add_argument("run_dir", type=Path, metavar="outputs/NAME")
    report.add_argument("--lang", choices=("en", "zh"), help="language of the report [that of the run]")
    report.set_defaults(handler=_report)
    merge = commands.add_parser(
        "merge",
        help="keep another share of what students learned, without training again",
        description="Make final_model of trained students anew from their adapters, with another merge_weight. Reports "
        "leave out evaluations of the former weights until they are made again.",
        allow_abbrev=False,
    )
    merge.add_argument("run_dir", type=Path, metavar="outputs/NAME")
    share = "share of the change of the training that final_model gets, above 0 and at most 1"
    merge.add_argument("--merge_weight", action=Once, required=True, metavar="WEIGHT", help=share)
    merge.add_argument(
        "--arms", action=Once, metavar="ARMS", help="comma-separated: sft, kd, opd [all that are trained]"
    )
    merge.set_defaults(handler=_merge)
    compare = commands.add_parser("compare", help="compare two experiments", allow_abbrev=False)
    compare.add_argument("first", type=Path, metavar="outputs/A")
    compare.add_argument("second", type=Path, metavar="outputs/B")
    compare.set_defaults(handler=_compare)
    return parser


def _add_experiment_flags(parser: argparse.ArgumentParser, command: str) -> None:
    """Add one flag for each field of ExperimentConfig. pydantic validates, so flags, YAML keys and presets agree."""
    parser.add_argument(
        "--preset", action=Once, metavar="|".join(PRESETS), help="named set of values; other flags override it"
    )
    parser.add_argument(
        "--config",
        action=Once,
        type=Path,
        metavar="FILE",
        help="YAML file with `field: value` lines; flags override it",
    )
    if command not in RUNS_NOTHING:
        parser.add_argument(
            "--dry_run", action="store_true", help="print the settings and the stages that would run, and stop"
        )
        parser.add_argument(
            "--force", action="store_true", help="run the requested stages again even if they are finished"
        )
    without = () if command in ("run", "plan") else RUN_FLAGS  # the command itself names its stage
    group = parser.add_argument_group()
    for name, info in ExperimentConfig.model_fields.items():
        if name in GROUPS:
            group = parser.add_argument_group(GROUPS[name])
        if name in without:
            continue
        is_switch = info.annotation is bool
        keywords: dict[str, Any] = {"nargs": "?", "const": True} if is_switch else {}
        keywords |= {"action": Once} if name in LISTS else {}
        metavar = "true|false" if is_switch else "|".join(choices(info)) or name.split("_")[-1].upper()
        group.add_argument(f"--{name}", default=argparse.SUPPRESS, metavar=metavar, help=_help(info), **keywords)
    parser.set_defaults(handler={"check": _check, "plan": _plan}.get(command, _run))


def _help(info: FieldInfo) -> str:
    """The description of a field and, in brackets, its default if it has one."""
    default = str(info.default).lower() if info.annotation is bool else info.default
    text = f"{info.description} [{default}]" if default not in (None, "") else str(info.description)
    return text.replace("%", "%%")


def _config(arguments: argparse.Namespace) -> ExperimentConfig:
    given = {name: value for name, value in vars(arguments).items() if name in ExperimentConfig.model_fields}
    if arguments.command in STAGE_COMMANDS:
        given |= dict.fromkeys(RUN_FLAGS, False) | STAGE_COMMANDS[arguments.command]
    return resolve_config(given, preset=arguments.preset, file=expand_home(arguments.config))


def _run(arguments: argparse.Namespace) -> int:
    config = _config(arguments)
    from l2s.runner.experiment import dry_run, run_experiment

    (dry_run if arguments.dry_run else run_experiment)(config, force=arguments.force)
    return 0


def _report(arguments: argparse.Namespace) -> int:
    from l2s.runner.experiment import rebuild_report

    rebuild_report(expand_home(arguments.run_dir), lang=arguments.lang)
    return 0


def _merge(arguments: argparse.Namespace) -> int:
    given = {name: value for name in ("merge_weight", "arms") if (value := getattr(arguments, name)) is not None}
    config = resolve_config(given, preset=None, file=None)
    from l2s.runner.merge import merge_again

    arms = config.arms.split(",") if arguments.arms else None
    merge_again(expand_home(arguments.run_dir), config.merge_weight, arms)
    return 0


def _compare(arguments: argparse.Namespace) -> int:
    from l2s.report.text.compare import compare_runs

    print(compare_runs(expand_home(arguments.first), expand_home(arguments.second)))
    return 0


def _check(arguments: argparse.Namespace) -> int:
    config = _config(arguments)
    from l2s.runner.check import run_checks

    return run_checks(config)


def _plan(arguments: argparse.Namespace) -> int:
    config = _config(arguments)
    if not any(getattr(config, name) for name in RUN_FLAGS):
        config = config.model_copy(update={"run_all": True})
    from l2s.plan.command import run_plan

    return 0 if run_plan(config, hardware=arguments.hardware, details=arguments.details) else 1


if __name__ == "__main__":
    sys.exit(main())
