#!/usr/bin/env python3
"""Whether each file includes only what the table of rooms in docs/architecture.md lets it include.

A room is a folder of the table. A public header (soleguard/NAME.h) is in the room that has NAME.cc,
NAME_posix.cc or NAME_linux.cc, or whose row names it. Also checked: system headers of one platform
stay behind the seam, layers/ itself stays small, and no header is long.
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "architecture.md"
PROGRAM = "tools/guardcheck"
ROW = re.compile(r"^\| `([\w/]+)/` \|[^|]*\|([^|]*)\|([^|]*)\|$")
MOST_FILES, MOST_LINES = 12, 250
STANDARD = re.compile(r"<[a-z_]+>|<cxxabi\.h>")  # of C++ (no suffix), and of its ABI
FOREIGN = re.compile(r"<(?:absl|boost|re2|CLI|gtest|gmock|benchmark|toml\+\+)/|<(?:xxhash|toml)")


def table():
    """By room: the public headers that its row names, and the rooms that it may include."""
    rooms = {}
    for line in PAGE.read_text().splitlines():
        row = ROW.match(line)
        if row:
            words = [re.findall(r"`([\w/]+?)/?`", row[n]) for n in (2, 3)]
            rooms[row[1]] = (set(words[0]), set(words[1]) | {row[1]})
    return rooms


def files(room):
    """What is in the room itself: not in a room below, nor among the public headers."""
    return [p for p in sorted((ROOT / room).glob("*")) if p.suffix in (".cc", ".h")]


def public_headers(rooms):
    where = {}
    for header in ROOT.glob("*/include/soleguard/*.h"):
        stem = header.stem
        owners = {room for room, (named, _) in rooms.items() if stem in named}
        owners |= {room for room in rooms for suffix in ("", "_posix", "_linux")
                   if (ROOT / room / f"{stem}{suffix}.cc").exists() and room.split("/")[0] in
                   header.relative_to(ROOT).parts[:1]}
        where[header] = owners
    return where


def base(room):
    """The folder from which the private headers of the room are included."""
    return PROGRAM if room.startswith(PROGRAM) else room.split("/")[0]


def main():
    rooms = table()
    wrong = [] if rooms else [f"{PAGE.name} has no table of rooms"]
    owners = public_headers(rooms)
    for header, found in owners.items():
        if len(found) != 1:
            wrong.append(f"{header.relative_to(ROOT)} is in {len(found)} rooms: {sorted(found)}")
    public = {f"soleguard/{h.name}": next(iter(found)) for h, found in owners.items() if found}
    private = {}  # by the folder that such includes begin at, and the path from there
    for room in rooms:
        for path in files(room):
            private[base(room), str(path.relative_to(ROOT / base(room)))] = room

    def check(path, room):
        text = path.read_text()
        name = path.relative_to(ROOT)
        behind_the_seam = room.endswith("/os") or path.stem.endswith(("_linux", "_posix")) or (
            path.suffix == ".h" and any((path.parent / f"{path.stem}{suffix}.cc").exists()
                                        for suffix in ("_linux", "_posix")))
        for line in text.splitlines():
            include = re.match(r'#include (?:"([^"]+)"|(<[^>]+>))', line)
            if not include:
                continue
            if include[2]:
                own = include[2].strip("<>")
                if own in public:
                    include = (None, own)
                elif not (behind_the_seam or STANDARD.fullmatch(include[2])
                          or FOREIGN.match(include[2])):
                    wrong.append(f"{name}: {include[2]} belongs behind the seam")
                    continue
                else:
                    continue
            beside = (path.parent / include[1]).exists()  # as the compiler looks first
            target = private.get((base(room), include[1]), public.get(include[1]))
            if beside and "/" not in include[1]:
                target = room
            if target is None:
                if not include[1].endswith(".inc"):
                    wrong.append(f"{name}: nobody knows \"{include[1]}\"")
            elif target not in rooms[room][1]:
                wrong.append(f"{name} ({room}) includes {include[1]} ({target})")
        if path.suffix == ".h" and text.count("\n") > MOST_LINES:
            wrong.append(f"{name} has more than {MOST_LINES} lines")

    for room in rooms:
        for path in files(room):
            check(path, room)
    for header, found in owners.items():
        for room in found:
            check(header, room)
    top = len([p for p in (ROOT / "layers").iterdir() if p.is_file()])
    if top > MOST_FILES:
        wrong.append(f"layers/ itself has {top} files, more than {MOST_FILES}")
    for line in wrong:
        print(line)
    print(f"{len(rooms)} rooms, {len(public) + len(private)} files, {len(wrong)} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
