"""Faults in configuration and resource files: all of them at once, each in one line."""

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong in a file; its text is one line: file, section, key, what is allowed, a guess."""

    file: Path
    problem: str
    section: str = ""
    key: str = ""
    allowed: str = ""
    guess: str = ""

    def __str__(self) -> str:
        place = " ".join(part for part in (f"[{self.section}]" if self.section else "", self.key) if part)
        text = f"{self.file}: {place}: {self.problem}" if place else f"{self.file}: {self.problem}"
        if self.allowed:
            text += f"; allowed: {self.allowed}"
        return text + (f"; did you mean {self.guess!r}?" if self.guess else "")


class SettingsError(Exception):
    """A configuration or a resource file that cannot be used; `faults` has all that is wrong with it."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = list(faults)
        super().__init__("\n".join(str(fault) for fault in self.faults))


def guess(word: str, words: Iterable[str]) -> str:
    """Return the one of *words* that *word* was probably meant to be, or an empty string."""
    close = get_close_matches(word.lower(), list(words), n=1, cutoff=0.6)
    return close[0] if close else ""
