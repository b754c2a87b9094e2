#!/usr/bin/env python3
"""Applies small slips to the sources, one at a time, and lists those that no test notices.

    tests/mutation/run.py                     all slips of slips.py
    tests/mutation/run.py --list              what there is
    tests/mutation/run.py --check             whether each slip still applies; builds nothing
    tests/mutation/run.py --only arbiter      those whose id or file has that word
    tests/mutation/run.py --shard 1/4         the first of four parts, for as many machines

It works in a copy of the checkout, in a build tree of its own (build/mutation, or --work), and
never edits the checkout. What was found is kept there in results.jsonl: started once more it goes on where it
ended, and does again only what has changed (--again: everything).

A slip is noticed when the changed sources do not pass one of the tests that its file has in
SUITES. It survives when they pass them all. One that is marked equivalent is expected to.

Exit status: 0 when every slip was noticed or is equivalent, 1 when some survived, 2 when the list
is wrong (a text that is not there any more, or twice; a slip that does not compile; an equivalent
one that was noticed; a suite without a test), 3 when the unchanged sources do not build or pass.
"""
import argparse
import concurrent.futures
import fnmatch
import hashlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
CHECKOUT = HERE.parent.parent
sys.path.insert(0, str(HERE))
from slips import SLIPS, SUITES  # noqa: E402


# ---- the copy --------------------------------------------------------------------------------------


def copy_checkout(source):
    """Copies what has changed, so that ninja builds no more than that. Returns a digest of it all."""
    wanted = {}
    for directory, names, files in os.walk(CHECKOUT):
        names[:] = [n for n in names if n not in ("build", ".git", "__pycache__")]
        for name in files:
            path = pathlib.Path(directory, name)
            relative = path.relative_to(CHECKOUT)
            if relative.parts[0] == ".git":
                continue
            target = source / relative
            content = path.read_bytes()
            wanted[relative] = hashlib.sha256(content).hexdigest()
            if not target.exists() or target.read_bytes() != content:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
            shutil.copymode(path, target)
    for directory, _, files in os.walk(source):
        for name in files:
            path = pathlib.Path(directory, name)
            if path.relative_to(source) not in wanted:
                path.unlink()
    return hashlib.sha256(repr(sorted(wanted.items())).encode()).hexdigest()[:16]


class Tree:
    """The copy, its build and its tests."""

    def __init__(self, work, jobs):
        self.source = work / "source"
        self.build = work / "build"
        self.jobs = jobs
        self.tests = {}  # program -> names

    def prepare(self, programs):
        self.digest = copy_checkout(self.source)
        options = ["-DCMAKE_BUILD_TYPE=Debug", "-DCMAKE_CXX_FLAGS_DEBUG=-O0",
                   "-DSOLEGUARD_BUILD_BENCH=OFF"]
        if shutil.which("ld.lld"):
            options.append("-DCMAKE_EXE_LINKER_FLAGS=-fuse-ld=lld")
        environment = dict(os.environ, CCACHE_BASEDIR=str(self.source.parent))
        done = subprocess.run(["cmake", "-G", "Ninja", "-S", self.source, "-B", self.build, *options],
                              env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if done.returncode == 0:
            done = self.compile(programs, None)
        if done.returncode != 0:
            sys.exit(fail(3, done.stdout.decode(errors="replace")[-4000:]))
        for program in programs:
            self.tests[program] = self.names_in(program)

    def compile(self, programs, timeout):
        command = ["ninja", "-C", self.build, f"-j{self.jobs}", *programs]
        environment = dict(os.environ, CCACHE_BASEDIR=str(self.source.parent))
        try:
            return subprocess.run(command, timeout=timeout, env=environment,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        except subprocess.TimeoutExpired as expired:
            return subprocess.CompletedProcess(command, 1, expired.stdout or b"timeout")

    def names_in(self, program):
        listed = subprocess.run([self.build / "bin" / program, "--gtest_list_tests"],
                                stdout=subprocess.PIPE, check=True, timeout=60).stdout.decode()
        names, suite = [], ""
        for line in listed.splitlines():
            line = line.split("#")[0].rstrip()
            if line and not line.startswith(" "):
                suite = line
            elif line and suite.endswith("."):
                names.append(suite + line.strip())
        return names

    def tests_of(self, suites):
        """The tests as (program, name), in the order of the suites."""
        chosen = []
        for program, patterns in suites:
            wanted = [p for p in patterns.split(":") if not p.startswith("-")]
            refused = [p[1:] for p in patterns.split(":") if p.startswith("-")] + ["*SoakTest.*"]
            for name in self.tests[program]:
                if any(fnmatch.fnmatchcase(name, p) for p in wanted) and not any(
                        fnmatch.fnmatchcase(name, p) for p in refused):
                    if (program, name) not in chosen:
                        chosen.append((program, name))
        return chosen

    def unmatched(self, all_suites):
        """The patterns that choose nothing: of a suite with parameters the name begins elsewhere."""
        return sorted(
            {f"{pattern} in {program}"
             for suites in all_suites for program, patterns in suites for pattern in patterns.split(":")
             if not any(fnmatch.fnmatchcase(name, pattern.removeprefix("-"))
                        for name in self.tests[program])})

    def run(self, tests, limits, default_limit):
        """Each test in a process of its own, as ctest does it, until one fails.

        Returns that one and how it failed, or None, and the seconds of each that passed.
        """
        stop = threading.Event()
        taken = {}

        def one(test):
            if stop.is_set():
                return None
            began = time.monotonic()
            limit = limits.get(test, default_limit)
            how = self.run_one(test, limit)
            if how and not how.startswith("still") and not self.run_one(test, limit):
                how = None  # by chance, beside others
            taken[test] = time.monotonic() - began
            if how:
                stop.set()
                return test, how
            return None

        with concurrent.futures.ThreadPoolExecutor(self.jobs) as pool:
            failed = [found for found in pool.map(one, tests) if found]
        return (failed[0] if failed else None), taken

    def run_one(self, test, limit):
        program, name = test
        with tempfile.TemporaryFile() as output:
            child = subprocess.Popen([self.build / "bin" / program, f"--gtest_filter={name}"],
                                     cwd=self.build / "tests", stdin=subprocess.DEVNULL,
                                     stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
            try:
                status = child.wait(limit)
            except subprocess.TimeoutExpired:
                status = None
            try:  # what it has left behind, too
                os.killpg(child.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            child.wait()
            if status is None:
                return f"still running after {limit:.0f} s"
            if status == 0:
                return None
            output.seek(0)
            text = output.read().decode(errors="replace")
            return next((line.strip() for line in text.splitlines() if "Failure" in line),
                        f"status {status}")


# ---- the list --------------------------------------------------------------------------------------


def mutate(slip):
    """The changed text of the slip's file, or why it does not apply."""
    path = CHECKOUT / slip.file
    if not path.exists():
        return None, "there is no such file"
    text = path.read_text()
    count = text.count(slip.old)
    if count != 1:
        return None, f"the text is there {count} times"
    if slip.old == slip.new:
        return None, "it changes nothing"
    return text.replace(slip.old, slip.new), None


def suites_of(slip):
    return slip.suites or SUITES[slip.file]


def check(slips):
    seen, errors = set(), []
    for slip in slips:
        _, why = mutate(slip)
        if slip.id in seen:
            why = "the id is there twice"
        if not slip.suites and slip.file not in SUITES:
            why = "no tests are named for its file"
        seen.add(slip.id)
        if why:
            errors.append(f"{slip.id} ({slip.file}): {why}")
    return errors


def key_of(slip, mutated):
    """A slip that was noticed is, for as long as what it changes is the same."""
    digest = hashlib.sha256(mutated.encode())
    digest.update(repr((slip.file, suites_of(slip))).encode())
    return digest.hexdigest()[:16]


# ---- the run ---------------------------------------------------------------------------------------


def fail(status, text):
    print(text, file=sys.stderr)
    return status


def select(arguments):
    slips = [s for s in SLIPS
             if not arguments.only or any(w in s.id or w in s.file for w in arguments.only)]
    if arguments.shard:
        part, parts = (int(n) for n in arguments.shard.split("/"))
        slips = [s for i, s in enumerate(slips) if i % parts == part - 1]
    return slips


def parse():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", metavar="WORD")
    parser.add_argument("--shard", metavar="I/N")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--again", action="store_true", help="do again what is in results.jsonl")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--work", type=pathlib.Path, help="a directory of its own, kept")
    arguments = parser.parse_args()
    if not arguments.work:
        part = f"-{arguments.shard.replace('/', '-of-')}" if arguments.shard else ""
        arguments.work = CHECKOUT / "build" / f"mutation{part}"
    arguments.work = arguments.work.resolve()
    return arguments


class Run:
    def __init__(self, arguments, slips):
        self.tree = Tree(arguments.work, arguments.jobs)
        self.slips = slips
        self.file = arguments.work / "results.jsonl"
        self.known = {}
        self.noticed_before = {}  # file -> tests that have noticed a slip of it
        if self.file.exists() and not arguments.again:
            for line in self.file.read_text().splitlines():
                result = json.loads(line)
                self.known[result["key"]] = result
        self.limits = {}

    def baseline(self):
        """The unchanged sources: builds, and finds out what passes and how long it takes."""
        programs = sorted({p for s in self.slips for p, _ in suites_of(s)})
        self.tree.prepare(programs)
        unmatched = self.tree.unmatched({suites_of(slip) for slip in self.slips})
        if unmatched:
            sys.exit(fail(2, "no test is called " + ", ".join(unmatched)))
        tests = []
        for slip in self.slips:
            for test in self.tree.tests_of(suites_of(slip)):
                if test not in tests:
                    tests.append(test)
        print(f"{len(self.slips)} slips, {len(tests)} tests; first those without a slip", flush=True)
        kept = self.file.with_name("baseline.json")
        taken = {}
        if kept.exists():
            saved = json.loads(kept.read_text())
            if saved["digest"] == self.tree.digest:
                taken = {(program, name): seconds for program, name, seconds in saved["seconds"]}
        missing = [test for test in tests if test not in taken]
        failed, more = self.tree.run(missing, {}, 300)
        if failed:
            sys.exit(fail(3, f"without a slip {failed[0][0]} {failed[0][1]} fails: {failed[1]}"))
        taken.update(more)
        kept.write_text(json.dumps({"digest": self.tree.digest,
                                    "seconds": [[*test, s] for test, s in taken.items()]}))
        # Beside other work a test takes several times as long.
        self.limits = {test: 20 + 10 * seconds for test, seconds in taken.items()}
        self.seconds = taken

    def estimate(self):
        total = 0
        for slip in self.slips:
            tests = self.tree.tests_of(suites_of(slip))
            all_of_them = sum(self.seconds.get(t, 0) for t in tests) / self.tree.jobs
            total += 12 + (all_of_them if slip.equivalent else all_of_them / 3)
        return total

    def restore(self, but=None):
        for file in {s.file for s in SLIPS} - {but}:
            target, text = self.tree.source / file, (CHECKOUT / file).read_text()
            if target.exists() and target.read_text() != text:
                target.write_text(text)

    def one(self, slip, mutated):
        began = time.monotonic()
        self.restore(but=slip.file)
        (self.tree.source / slip.file).write_text(mutated)
        programs = sorted({p for p, _ in suites_of(slip)})
        built = self.tree.compile(programs, 1800)
        result = {"id": slip.id, "tree": self.tree.digest, "key": key_of(slip, mutated), "by": "", "how": ""}
        if built.returncode != 0:
            lines = built.stdout.decode(errors="replace").splitlines()
            result["status"] = "does not compile"
            result["how"] = next((line for line in lines if "error" in line), "")
        else:
            build_seconds = time.monotonic() - began
            tests = self.tree.tests_of(suites_of(slip))
            before = self.noticed_before.get(slip.file, [])
            tests.sort(key=lambda test: test not in before)  # stable
            failed, _ = self.tree.run(tests, self.limits, 60)
            result["status"] = "noticed" if failed else "survived"
            if failed:
                result["by"], result["how"] = failed[0][1], failed[1]
                before.append(failed[0])
                self.noticed_before[slip.file] = before
            result["build"] = round(build_seconds, 1)
        result["seconds"] = round(time.monotonic() - began, 1)
        with self.file.open("a") as file:
            file.write(json.dumps(result) + "\n")
        return result

    def all(self):
        self.baseline()
        print(f"about {self.estimate() / 60:.0f} min for all of them", flush=True)
        results = []
        # One file after another: a file is built unchanged once for all its slips.
        for slip in sorted(self.slips, key=lambda s: s.file):
            mutated, why = mutate(slip)
            if why:
                results.append((slip, {"status": "does not apply", "how": why, "by": "",
                                       "seconds": 0}))
                continue
            result = self.known.get(key_of(slip, mutated))
            if result is None or (result["status"] != "noticed"
                                  and result["tree"] != self.tree.digest):
                result = self.one(slip, mutated)
            results.append((slip, result))
            print(f"{result['status']:>10}  {slip.id}  {result['by']}  ({result['seconds']} s)",
                  flush=True)
        self.restore()
        return results


def main():
    arguments = parse()
    slips = select(arguments)
    if arguments.list:
        for slip in slips:
            print(f"{slip.id}  {slip.file}: {slip.why}"
                  + (f"  [equivalent: {slip.equivalent}]" if slip.equivalent else ""))
        print(f"{len(slips)} slips")
        return 0
    errors = check(slips)
    if arguments.check:
        for error in errors:
            print(error)
        print(f"{len(slips)} slips, {len(errors)} do not apply")
        return 2 if errors else 0

    arguments.work.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    results = Run(arguments, slips).all()
    survivors, wrong = [], list(errors)
    noticed = equivalent = 0
    for slip, result in results:
        if result["status"] == "noticed":
            noticed += 1
            if slip.equivalent:
                wrong.append(f"{slip.id}: said to be equivalent, and {result['by']} noticed it")
        elif result["status"] == "survived":
            if slip.equivalent:
                equivalent += 1
            else:
                survivors.append(slip)
        elif result["status"] == "does not compile":
            wrong.append(f"{slip.id}: does not compile: {result['how']}")
    print()
    for slip in survivors:
        print(f"survived: {slip.id}: {slip.file}: {slip.why}")
    for error in wrong:
        print(f"the list: {error}")
    print(f"{len(results)} slips: {noticed} noticed, {equivalent} equivalent, "
          f"{len(survivors)} survived, {len(wrong)} errors of the list; "
          f"{(time.monotonic() - began) / 60:.0f} min")
    return 2 if wrong else 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
