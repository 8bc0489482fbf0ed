"""Fills in the configs under peers/: ports, paths, and the parts that repeat 10,000 times.

`@NAME@` is replaced by a value. Lines between a line with `@EACH NAME@` and one with `@END@` (both are comments in
the config's own language) are repeated for 0, 1, 2, ...: `@I@` is the number and `@I:100@` the number modulo 100.
Within such lines, those between `@WITHIN NAME@` and `@END WITHIN@` are repeated for each of them; there the number is
`@J@`, and `@FIRST+J@` is that plus the value of FIRST. A marker without a value is an error, so a typing mistake never
runs.
"""

import re
from pathlib import Path

BLOCK = re.compile(r"^[^\n]*@EACH (\w+)@[^\n]*\n(.*?)^[^\n]*@END@[^\n]*\n", re.MULTILINE | re.DOTALL)
INNER = re.compile(r"^[^\n]*@WITHIN (\w+)@[^\n]*\n(.*?)^[^\n]*@END WITHIN@[^\n]*\n", re.MULTILINE | re.DOTALL)
MARKER = re.compile(r"@([A-Z][A-Z0-9_]*)@")


def render(text: str, values: dict[str, str], repeats: dict[str, int]) -> str:
    """The text with every block repeated and every marker replaced; KeyError names what has no value."""
    text = INNER.sub(lambda block: repeat_inner(block[2], repeats[block[1]], values), text)
    text = BLOCK.sub(lambda block: repeat(block[2], repeats[block[1]]), text)
    return MARKER.sub(lambda marker: values[marker[1]], text)


def repeat(body: str, times: int) -> str:
    pieces = []
    for i in range(times):
        piece = re.sub(r"@I:(\d+)@", lambda found: str(i % int(found[1])), body)
        pieces.append(piece.replace("@I@", str(i)))
    return "".join(pieces)


def repeat_inner(body: str, times: int, values: dict[str, str]) -> str:
    pieces = []
    for j in range(times):
        piece = re.sub(r"@([A-Z_]+)\+J@", lambda found: str(int(values[found[1]]) + j), body)
        pieces.append(piece.replace("@J@", str(j)))
    return "".join(pieces)


def render_files(folder: Path, config: str, into: Path, values: dict[str, str], repeats: dict[str, int]) -> None:
    """Renders all files of one config: `routes.cfg` and `routes.map` both belong to the config `routes`."""
    for source in sorted(folder.iterdir()):
        if source.name.split(".")[0] == config:
            (into / source.name).write_text(render(source.read_text(), values, repeats))
