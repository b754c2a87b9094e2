#!/usr/bin/env python3
"""Whether promises.txt has each status that a public header names, and names tests that exist."""
import collections
import pathlib
import re
import sys

TESTS = pathlib.Path(__file__).resolve().parent
STATUS = re.compile(r"\bk?(InvalidArgument|NotFound|Unavailable|FailedPrecondition|DataLoss|"
                    r"ResourceExhausted|Aborted|PermissionDenied|AlreadyExists|DeadlineExceeded|"
                    r"Unimplemented|Cancelled|OutOfRange)\b")


def named():
    """How often each header names each status."""
    counts = collections.Counter()
    for room in ("layers", "policy"):
        for header in (TESTS.parent / room / "include" / "soleguard").glob("*.h"):
            for status in STATUS.findall(header.read_text()):
                counts[header.name, status] += 1
    return counts


def tests():
    """Suite.Case of all tests, whatever parameters they have."""
    found = set()
    for source in TESTS.rglob("*.cc"):
        for suite, case in re.findall(r"^TEST(?:_[FP])?\(\s*(\w+),\s*(\w+)\)", source.read_text(),
                                      re.MULTILINE):
            found.add(f"{suite}.{case}")
    return found


def main():
    listed, wrong, known = collections.Counter(), [], tests()
    for number, line in enumerate((TESTS / "promises.txt").read_text().splitlines(), 1):
        words = line.split(maxsplit=3)
        if not words or words[0].startswith("#"):
            continue
        header, status, _, test = words
        listed[header, status] += 1
        if not test.startswith("- ") and test not in known:
            wrong.append(f"line {number}: there is no test {test}")
    for key, count in sorted((named() - listed).items()):
        wrong.append(f"{key[0]} names {key[1]} {count} times more than the list has it")
    for key, count in sorted((listed - named()).items()):
        wrong.append(f"the list has {key[1]} of {key[0]} {count} times more than the header names it")
    print("\n".join(wrong) or f"{sum(listed.values())} statuses of {len({h for h, _ in listed})} "
          "headers")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
