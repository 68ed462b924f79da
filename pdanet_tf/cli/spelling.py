"""Messages of Python code in the words of the command line."""

import re
from collections.abc import Iterable

_ITEM = r"'[^']*'|\"[^\"]*\"|[^\s,()]+"  # of a tuple, as Python writes it


def spell_as_options(message: str, names: Iterable[str]) -> str:
    """Rewrites the arguments that a message names as options of the command line.

    `resume=True` becomes `--resume`, `flip=False` becomes `--no-flip`, `epochs=3` becomes
    `--epochs 3`, `crop_size=(3, 4)` becomes `--crop-size 3 4`, `stem=None` becomes `no --stem`, and
    `output_dir` becomes `--output-dir`. A name of one word is rewritten only before an equals sign:
    elsewhere it is a word of the sentence. Messages about the content of a JSON file stay as they
    are.

    Args:
        message: The message.
        names: Names of the command's options, in Python's spelling.
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
    # Neither a part of a longer name nor of a path.
    before, behind = r"(?<![\w/.\-])", r"(?![\w/\-]|\.\w)"
    pattern = rf"{before}({name})(?:(=)(True|False|None|\([^()]*\))?|{behind})"
    is_of_a_file = re.match(r"\S+\.json: ", message)
    return re.sub(pattern, spell, message) if name and not is_of_a_file else message
