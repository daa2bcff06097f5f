"""The command line's frame: runs `telltale.app`, and says what became of every error.

Rules: exit 2 for bad usage or configuration, 1 for a failure, each with one clear sentence on stderr and
never a traceback (TELLTALE_DEBUG=1 shows it); a reader that goes away ends the output quietly.
"""

import os
import sys
import traceback
from collections.abc import Sequence
from typing import Final

from telltale.errors import FailureError, sentence_of

_INTERRUPTED: Final = 130  # 128 + SIGINT, as shells have it


def main() -> None:
    """Run the command line and exit."""
    sys.exit(_flushed(run(sys.argv[1:])))


def run(arguments: Sequence[str]) -> int:
    """Run one command line; return its exit code, after its sentence."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a character that the terminal's charset lacks is no failure
            stream.reconfigure(errors="backslashreplace")
    if list(arguments) == ["--version"]:  # asked by scripts and packagers: without loading all commands
        from telltale.version import version_line

        print(version_line())
        return 0
    return _run(list(arguments))


def _run(arguments: list[str]) -> int:
    from telltale.app import app

    try:
        return app(arguments, prog_name="telltale", standalone_mode=False) or 0
    except BrokenPipeError:
        return 1
    except KeyboardInterrupt:
        return _INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the end of the line: whatever comes becomes one sentence
        if os.environ.get("TELLTALE_DEBUG"):
            traceback.print_exc()
        code, sentences = ending(error)
        for sentence in sentences:
            print(f"telltale: {sentence}", file=sys.stderr)
        return code


def ending(error: Exception) -> tuple[int, list[str]]:
    """Return the exit code and the sentences that tell a person of `error`."""
    from telltale.app import ABORT, CLICK_ERROR, USAGE_ERROR

    if isinstance(error, FailureError):
        return error.exit_code, str(error).splitlines()
    if isinstance(error, USAGE_ERROR):
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "telltale"
        return 2, [f"{_sentence(error)} See {command} --help."]
    if isinstance(error, CLICK_ERROR):
        return 1, [_sentence(error)]
    if isinstance(error, ABORT):
        return _INTERRUPTED, []
    return 1, sentence_of(error).splitlines()


def _sentence(error: Exception) -> str:
    message: str = error.format_message()  # type: ignore[attr-defined]  # click's, whichever copy
    text = " ".join(message.replace("Value error, ", "").split())
    return text if text.endswith((".", "?", "!")) else f"{text}."


def _flushed(code: int) -> int:
    """Flush stdout while an error can still be told; return the exit code."""
    try:
        sys.stdout.flush()
    except OSError as error:
        # The interpreter would flush once more at its end, and print what we print here.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            print(f"telltale: cannot write the output: {error.strerror}", file=sys.stderr)
            return 1
    return code
