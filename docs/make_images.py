"""Make the pictures in docs/images again: ``python docs/make_images.py [NAME …]``, all of them without a name.

Each is the figure that a command of mfpde writes, ``--list`` prints the commands; that of the tutorial comes of running
the tutorial.  The two long ones, propagation-of-chaos and theory-sgd, take minutes.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

DOCS = Path(__file__).resolve().parent
IMAGES = DOCS / "images"
# picture -> the commands that make it, and the figure among what they write below the directory DIR
COMMANDS = {
    "single-index": (("solve single-index -o DIR",), "overview.png"),
    "report": (("solve single-index -o DIR", "report DIR"), "report.html"),
    "mei-isotropic": (("solve mei-isotropic -o DIR",), "overview.png"),
    "mei-anisotropic": (("solve mei-anisotropic -o DIR",), "overview.png"),
    "kernel-limit": (("kernel-limit -o DIR",), "kernel-limit.png"),
    "propagation-of-chaos": (
        ("solve propagation-of-chaos -o DIR", "compare DIR --metric chaos -o DIR/chaos"),
        "chaos/chaos.png",
    ),
    "theory-sgd": (("theory sgd -o DIR",), "sgd.png"),
}
TUTORIAL, TUTORIAL_FIGURE = "tutorial", "figure.png"
BY_THE_BUILD = ("single-index", "report")
"""The pictures that every build of the site makes anew; they share one run."""
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
WINDOW = (1100, 930)


def make(name: str, scratch: Path) -> Path | None:
    """The picture NAME.png in a scratch directory; None where it needs a browser and there is none.

    A command that an earlier picture has run there already is not run again.
    """
    if name == TUTORIAL:
        return follow_tutorial(scratch)
    commands, found = COMMANDS[name]
    directory = scratch / commands[0].replace(" -o DIR", "").replace(" ", "-")
    for command in commands:
        done = directory / f".{command.split()[0]}"
        if not done.exists():
            words = [word.replace("DIR", str(directory)) for word in command.split()]
            subprocess.run([sys.executable, "-m", "mfpde", *words, "-q"], check=True, stdout=subprocess.DEVNULL)
            done.touch()
    target = scratch / f"{name}.png"
    if found.endswith(".html"):
        return target if photograph(directory / found, target) else None
    shutil.copyfile(directory / found, target)
    return target


def follow_tutorial(scratch: Path) -> Path:
    """Run the blocks of the tutorial in order, but for the installation, until its figure is there."""
    sys.path.insert(0, str(DOCS.parent / "tests"))
    import documents

    directory, target = scratch / TUTORIAL, scratch / f"{TUTORIAL}.png"
    directory.mkdir()
    variables = documents.environment(scratch / "shims")
    for block in documents.blocks((DOCS / f"{TUTORIAL}.md").read_text(encoding="utf-8")):
        if (directory / TUTORIAL_FIGURE).is_file():
            break
        if block.language in ("", "python") and not block.text.startswith("pip install"):
            documents.run(block, directory, variables)
    shutil.copyfile(directory / TUTORIAL_FIGURE, target)
    return target


def photograph(page: Path, target: Path) -> bool:
    """The top of a page as PNG by headless Chromium; False where there is none."""
    program = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if program is None:
        return False
    flags = "--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --hide-scrollbars --no-first-run"
    with tempfile.TemporaryDirectory() as profile:
        command = [program, *flags.split(), f"--user-data-dir={profile}", f"--screenshot={target}"]
        command += [f"--window-size={WINDOW[0]},{WINDOW[1]}", "--virtual-time-budget=3000", page.resolve().as_uri()]
        subprocess.run(command, check=True, timeout=120, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return target.is_file()


def main() -> None:
    """Make the named pictures, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *COMMANDS, TUTORIAL], metavar="NAME")
    parser.add_argument("--list", action="store_true", help="print what makes each picture, make nothing")
    args = parser.parse_args()
    if args.list:
        for name, (commands, found) in COMMANDS.items():
            print(f"{name}.png: {' && '.join(f'mfpde {command}' for command in commands)}  ->  DIR/{found}")
        print(f"{TUTORIAL}.png: the blocks of docs/{TUTORIAL}.md  ->  {TUTORIAL_FIGURE}")
        return
    with tempfile.TemporaryDirectory() as scratch:
        for name in args.names or [*COMMANDS, TUTORIAL]:
            made = make(name, Path(scratch))
            if made is None:
                print(f"{name}.png: no Chromium here, left as it is")
            else:
                shutil.copyfile(made, IMAGES / made.name)
                print(f"{name}.png")


if __name__ == "__main__":
    main()
