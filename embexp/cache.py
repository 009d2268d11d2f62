"""``python -m embexp.cache``: what the cache holds, whether it is whole, and how to make it smaller."""

from __future__ import annotations

import argparse
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from embexp.errors import DamagedError, DataError, exit_on_errors
from embexp.storage.inventory import ANSWERS, VECTORS, Entry, beyond, delete, entries, not_used_for, of_run

if TYPE_CHECKING:
    from rich.console import Console

_UNITS = {"B": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_DAYS = {"h": 1 / 24, "d": 1.0, "w": 7.0}


def main(arguments: Sequence[str] | None = None) -> None:
    """List, measure, verify or prune the cache of finished steps and vectors."""
    options = parser().parse_args(arguments)
    actions = {"list": _list, "size": _size, "verify": _verify, "prune": _prune}
    with exit_on_errors():
        actions[options.action](options, entries(Path(options.cache)))


def parser() -> argparse.ArgumentParser:
    """Return the parser of this command's arguments, which completion in a shell reads, too."""
    made = argparse.ArgumentParser(prog="python -m embexp.cache", description=__doc__)
    actions = made.add_subparsers(dest="action", required=True)
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--cache", default="outputs/cache", help="the cache's folder (outputs/cache)")
    for name, text in (
        ("list", "show every entry: step, size, last use, the run that used it last"),
        ("size", "show the size of each kind of entry"),
    ):
        actions.add_parser(name, help=text, description=text, parents=[shared])
    text = "read every file whole and compare it with its checksums"
    verify = actions.add_parser("verify", help=text, description=text, parents=[shared])
    verify.add_argument("--delete", action="store_true", help="delete what is damaged; runs compute it again")
    text = "delete entries: old ones, the least recently used, or those of a run"
    prune = actions.add_parser("prune", help=text, description=text, parents=[shared])
    rule = prune.add_mutually_exclusive_group(required=True)
    rule.add_argument("--older-than", type=_age, metavar="AGE", help="not used for so long: 12h, 30d, 4w")
    rule.add_argument(
        "--keep", type=_bytes, metavar="SIZE", help="the last used ones up to a size: 500M, 20G"
    )
    rule.add_argument(
        "--run", metavar="FOLDER", help="what this run used, and no other run that still exists"
    )
    prune.add_argument("--dry-run", action="store_true", help="show what would be deleted")
    return made


def _age(text: str) -> float:
    """Return an age in days."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([hdw]?)", text.lower())
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no age: give hours, days or weeks, as in 12h, 30d, 4w")
    return float(found[1]) * _DAYS[found[2] or "d"]


def _bytes(text: str) -> int:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([BKMGT])?I?B?", text.upper())
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no size: give one as in 500M or 20G")
    return round(float(found[1]) * _UNITS[found[2] or "B"])


def _list(_: argparse.Namespace, found: Sequence[Entry]) -> None:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("step", "key"):
        table.add_column(name, no_wrap=True)
    for name in ("size", "last used"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("used by", overflow="fold")
    for entry in found:
        used = f"{datetime.fromtimestamp(entry.used):%Y-%m-%d %H:%M}" if entry.used else "never"
        table.add_row(entry.kind, entry.folder.name, _readable(entry.size), used, _users(entry))
    _out().print(table)


def _users(entry: Entry) -> str:
    """Return the last run that used an entry and the number of the others."""
    from embexp.reporting.console import short_path

    parts = [] if entry.finished else ["(unfinished)"]
    if entry.runs:
        parts.append(str(short_path(Path(entry.runs[-1]))))
    if len(entry.runs) > 1:
        parts.append(f"and {len(entry.runs) - 1} more")
    return " ".join(parts)


def _size(_: argparse.Namespace, found: Sequence[Entry]) -> None:
    kinds: dict[str, list[int]] = defaultdict(list)
    for entry in found:
        kinds[entry.kind].append(entry.size)
    out = _out()
    for kind, sizes in kinds.items():
        out.print(f"{kind:<12} {_readable(sum(sizes)):>10}  {_count(len(sizes))}")
    out.print(f"{'all':<12} {_readable(sum(entry.size for entry in found)):>10}  {_count(len(found))}")


def _verify(options: argparse.Namespace, found: Sequence[Entry]) -> None:
    """Read everything; damage that stays ends the command with exit code 2."""
    out, damaged = _out(), []
    for entry, problem in _problems(found):
        out.print(f"{entry.kind} {entry.folder}: {problem}", soft_wrap=True)
        damaged.append(entry)
    if not damaged:
        out.print(
            f"{_count(len(found))} checked, {_readable(sum(e.size for e in found))}: nothing is damaged."
        )
        return
    if not options.delete:
        raise DamagedError(
            f"{len(damaged)} of {_count(len(found))} damaged: the next run that needs one computes it again; "
            "--delete deletes them now."
        )
    answers = [entry for entry in damaged if entry.kind == ANSWERS]
    _report(*delete([entry for entry in damaged if entry not in answers]))
    if answers:
        raise DamagedError(
            f"{answers[0].folder} is not deleted, since answers cost money: delete the lines that are named "
            "above, and only the answers in them are asked for again."
        )


def _problems(found: Sequence[Entry]) -> Iterator[tuple[Entry, str]]:
    from embexp.progress import track

    for entry in track(found, "Verifying"):
        if (problem := _problem(entry)) is not None:
            yield entry, problem


def _problem(entry: Entry) -> str | None:
    """Return what is damaged in an entry, which is read whole; None if nothing is."""
    if entry.kind in VECTORS:
        from embexp.models.vector_files import find_damaged_vectors

        return find_damaged_vectors(entry.folder)
    if entry.kind == ANSWERS:
        return _damaged_answer(entry.folder / "journal.jsonl")
    from embexp.finetuning.checkpoints import Checkpoints
    from embexp.storage.stages import check_stage

    _, problem = check_stage(entry.folder, whole=True)
    return problem or Checkpoints(entry.folder / "work").find_damage()


def _damaged_answer(journal: Path) -> str | None:
    from embexp.llm.journal import records

    try:
        for _ in records(journal) if journal.is_file() else ():
            pass
    except DataError as error:
        return str(error)
    return None


def _prune(options: argparse.Namespace, found: Sequence[Entry]) -> None:
    if options.older_than is not None:
        chosen = not_used_for(found, options.older_than)
    elif options.keep is not None:
        chosen = beyond(found, options.keep)
    else:
        chosen = of_run(found, Path(options.run))
    if options.dry_run:
        for entry in chosen:
            _out().print(f"{entry.kind} {entry.folder} {_readable(entry.size)}", soft_wrap=True)
        _out().print(f"{_count(len(chosen))} would be deleted, {_readable(sum(e.size for e in chosen))}.")
        return
    _report(*delete(chosen))


def _report(deleted: Sequence[Entry], in_use: Sequence[Entry]) -> None:
    out = _out()
    out.print(f"{_count(len(deleted))} deleted, {_readable(sum(entry.size for entry in deleted))} freed.")
    if in_use:
        out.print(f"{_count(len(in_use))} left, because a process is using them.")


def _count(number: int) -> str:
    return "1 entry" if number == 1 else f"{number:,} entries"


def _readable(size: int) -> str:
    value, unit = float(size), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1024 or unit == "TiB":
            break
        value /= 1024
    return f"{value:,.0f} {unit}" if unit == "B" or value >= 100 else f"{value:,.1f} {unit}"


def _out() -> Console:
    from embexp.reporting.console import standard_output

    return standard_output()


if __name__ == "__main__":
    main()
