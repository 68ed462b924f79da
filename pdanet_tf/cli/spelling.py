"""Translates messages of Python code into the terms of the command line."""

import re
from collections.abc import Iterable

_ITEM = r"'[^']*'|\"[^\"]*\"|[^\s,()]+"  # an item of a tuple, as Python writes it


def spell_as_options(message: str, names: Iterable[str]) -> str:
    """Replaces Python arguments in a message by options of the command line.

    `resume=True` becomes `--resume`, `flip=False` becomes `--no-flip`, `epochs=3` becomes
    `--epochs 3`, `crop_size=(3, 4)` becomes `--crop-size 3 4`, `stem=None` becomes `no --stem`, and
    `output_dir` becomes `--output-dir`. A name of one word is replaced only before an equals sign;
    elsewhere it is an ordinary word. Messages about the content of a JSON or TOML file are not
    changed.

    Args:
        message: The message.
        names: Names of the command's options, as Python spells them.
    """

    def spell(match: re.Match[str]) -> str:
        name, equals, value = match.groups()
        option = f"--{name.replace('_', '-')}"
        if not equals:
            return option if "_" in name else match[0]
        if value is None:
            return f"{option} "
        if value.startswith("("):
            return f"{option} {' '.join(re.findall(_ITEM, value))}"
        return {"True": option, "False": f"--no-{option[2:]}", "None": f"no {option}"}[value]

    name = "|".join(sorted(names, key=len, reverse=True))
    # Not a part of a longer name or of a path.
    before, behind = r"(?<![\w/.\-])", r"(?![\w/\-]|\.\w)"
    pattern = rf"{before}({name})(?:(=)(True|False|None|\([^()]*\))?|{behind})"
    is_of_a_file = re.match(r"[^:]+\.(json|toml): ", message, re.IGNORECASE)
    return re.sub(pattern, spell, message) if name and not is_of_a_file else message
