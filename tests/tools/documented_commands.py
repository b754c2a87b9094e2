#!/usr/bin/env python3
"""Runs what README.md and docs/ tell a reader to type: documented_commands.py GUARDCHECK [FILTER]

Every fenced block of a shell, and of what a shell is called from, has a decision in BLOCKS: it is run, or its commands are, or it says why it
is not. A block without a decision fails, and so does a decision without a block. Commands in the
running text and in tables (`guardcheck stop bot --force`, `run bot -- ./bot`) and in units and cron
lines are all called once, and must be understood: not a usage error, nor a program that is missing.

Each is called in a sandbox: a directory with a scope of its own, the programs that the pages name,
and nothing in PATH that installs or signals.
"""

import os
import pathlib
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
PATIENCE = 60  # seconds after which what does not come counts as a failure

COMMANDS = ("run stop send beat check status list history explain doctor watch report gc config completion "
            "manual").split()
USAGE, NOT_EXECUTABLE, NOT_FOUND = 64, 126, 127

# ---- the pages -----------------------------------------------------------------------------------


class Block:
    """A fenced block: where it is, its language and its text."""

    def __init__(self, page, line, language, text):
        self.page, self.line, self.language, self.text = page, line, language, text
        self.first = next((each for each in text.splitlines() if each.strip()), "").strip()

    def __str__(self):
        return f"{self.page}:{self.line}"


def pages():
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks_of(path):
    page = str(path.relative_to(ROOT))
    text = path.read_text(encoding="utf-8")
    for match in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        line = text.count("\n", 0, match.start()) + 1
        yield Block(page, line, match.group(1), match.group(2))


def spans_of(path):
    """The code in a page's running text and tables."""
    text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"),
                  flags=re.MULTILINE | re.DOTALL)
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", text)]


# ---- the sandbox ---------------------------------------------------------------------------------

# Names of a reader's own programs. Each ends at once.
PROGRAMS = ["alert", "app", "backup.sh", "bot", "job", "opt/bot/bot.py", "opt/poll/poll.sh",
            "opt/report/run"]
# The bot of the recipes: says which key it has, and runs until it is ended.
BOT = """\
import os, signal, time
print(os.environ.get("API_KEY", "no key"), flush=True)
signal.pause()
"""
# What a page calls and this machine may lack, or what would take its time.
STUBS = {
    "ansible-playbook": "exit 0",
    "fish": "exit 0",
    "nginx": "exit 0",
    "man": '[ "$*" = "-l -" ] && grep -q "^.TH"',
    "sleep": "exit 0",
}


class Sandbox:
    def __init__(self, guardcheck):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="soleguard-docs-"))
        self.children = []
        binaries = self.directory / "bin"
        binaries.mkdir()
        (binaries / "guardcheck").symlink_to(guardcheck)
        for name, text in STUBS.items():
            self.program(f"bin/{name}", f"#!/bin/sh\n{text}\n")
        for name in PROGRAMS:
            self.program(name, "#!/bin/sh\nexit 0\n")
        (self.directory / "bot.py").write_text(BOT)
        shutil.copy(ROOT / "tests/tools/polling_bot.py", self.directory)
        (self.directory / "home/.config/fish/completions").mkdir(parents=True)
        self.environment = {
            "PATH": f"{binaries}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(self.directory / "home"),
            "LANG": "C.UTF-8",
            "SOLEGUARD_DIR": str(self.directory / "scope"),
            "SOLEGUARD_STATE_DIR": str(self.directory / "state"),
            "SOLEGUARD_CONFIG": "/dev/null",
            "KEY_A": "key-a", "KEY_B": "key-b", "KEY_C": "key-c",
            "K1": "key-1", "K2": "key-2", "K3": "key-3",
        }

    def program(self, name, text):
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return path

    def begin(self, text):
        """A shell that runs `text`, in a session of its own."""
        log = tempfile.TemporaryFile("w+", dir=self.directory)
        child = subprocess.Popen(["bash", "-c", text], cwd=self.directory, stdin=subprocess.DEVNULL,
                                 stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
                                 env=self.environment)
        child.log = log
        self.children.append(child)
        return child

    @staticmethod
    def printed(child):
        """What it has printed until now."""
        return os.pread(child.log.fileno(), 1 << 20, 0).decode(errors="replace")

    def finish(self, child):
        """Its exit code, and all that it printed."""
        code = child.wait(timeout=PATIENCE)
        return code, self.printed(child)

    def shell(self, text):
        return self.finish(self.begin(text))

    def await_success(self, text):
        """Calls it until it ends with 0."""
        end = time.monotonic() + PATIENCE
        while True:
            code, output = self.shell(text)
            if code == 0:
                return
            require(time.monotonic() < end, f"'{text}' still ends with {code}: {output}")
            time.sleep(0.02)  # a command may be faster than the record that names it

    def close(self):
        for child in self.children:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGTERM)
        names = self.shell("guardcheck list --names")[1].split()
        for name in names:
            self.shell(f"guardcheck stop {name} --force --timeout 1s")
        for child in self.children:
            try:
                child.wait(timeout=10)
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)
        # Semaphores outlive the directory.
        self.shell("guardcheck gc; guardcheck gc --policy strict")
        shutil.rmtree(self.directory, ignore_errors=True)


class Failure(Exception):
    pass


def require(condition, what):
    if not condition:
        raise Failure(what)


# ---- what is done with a block -------------------------------------------------------------------


def runs(code=0):
    """The whole block, by bash, ends with `code`."""

    def do(sandbox, block):
        ended, output = sandbox.shell(block.text)
        require(ended == code, f"ends with {ended}, expected {code}:\n{output}")

    return do


def each_line(sandbox, block):
    """Each line that is a command is understood."""
    for line in block.text.splitlines():
        if line.strip() and not line.startswith("#"):
            understood(sandbox, line)


def cron(sandbox, block):
    for line in block.text.splitlines():
        words = line.split(None, 5)
        require(len(words) == 6, f"no cron line: {line}")
        understood(sandbox, words[5])


def no(reason):
    """It is not run, for that reason."""

    def do(sandbox, block):
        require(reason, "gives no reason")

    return do


def synopsis(sandbox, block):
    """Its lines are commands that there are, and there are no others."""
    lines = [line.split()[:2] for line in block.text.splitlines()]
    lines = [words for words in lines if words[1] != "help"]
    require(sorted(words[1] for words in lines) == sorted(COMMANDS),
            "does not name each command once")
    for words in lines:
        code, output = sandbox.shell(f"{' '.join(words)} --help")
        require(code == 0, f"{' '.join(words)} --help ends with {code}: {output}")


def refusal(sandbox, block):
    """What README.md shows of a refused start is what one prints."""
    line = block.text.removeprefix("$ ").strip()
    sandbox.begin(line)
    sandbox.await_success("guardcheck status polling_bot | grep -q 'guarded by guardcheck'")
    code, output = sandbox.shell(line)
    require(code == 75, f"the second start ends with {code}: {output}")
    output = output.replace(f" --scope {sandbox.directory}/scope", "")
    shown = next(each for each in blocks_of(ROOT / "README.md")
                 if each.first.startswith("guardcheck: polling_bot is already running"))
    require(outline(output) == outline(shown.text),
            f"it prints\n{outline(output)}\nand the page shows\n{outline(shown.text)}")


def outline(text):
    """A refusal without its values, which differ from start to start."""
    lines = []
    values = False
    for line in text.rstrip().splitlines():
        values = line in ("Who holds it", "What the layers say") or values and line != ""
        key = re.match(r"  (\w+) +\S", line)
        lines.append(f"  {key.group(1)}" if values and key else line)
    return "\n".join(lines)


def first_line(sandbox, block):
    """Its first line is the command; the rest depends on the machine, and on what has happened."""
    understood(sandbox, block.first.removeprefix("$ "))


def start_one(sandbox, block):
    """Stops what is left, starts one; and ends where another start was faster."""
    code, output = sandbox.shell(block.text)
    require(code == 0 and "bot runs: pid" in output, f"ends with {code}:\n{output}")
    # The recipe again ends the instance and starts another.
    code, again = sandbox.shell(block.text)
    require(code == 0 and "stopped" in again and "bot runs: pid" in again,
            f"the second time it ends with {code}:\n{again}")
    code, output = sandbox.shell("guardcheck stop bot")
    require(code == 0, f"it was not stopped:\n{output}")


def another_key(sandbox, block):
    """The hook of the recipe, when the log has an error: the other key is used."""
    hook = next(each for each in blocks_of(ROOT / block.page)
                if "# other-key:" in each.text)
    sandbox.program("other-key", hook.text)
    (sandbox.directory / "bot.log").touch()
    start, watch = block.text.strip().splitlines()
    started = sandbox.begin(start)
    sandbox.await_success("guardcheck status trading_bot")
    watching = sandbox.begin(watch)
    end = time.monotonic() + PATIENCE
    while started.poll() is None:
        require(watching.poll() is None, "the watch has ended")
        require(time.monotonic() < end, "the instance that had the error still runs")
        with open(sandbox.directory / "bot.log", "a", encoding="utf-8") as log:
            log.write("Invalid nonce\n")  # what is written before the watch looks does not count
        time.sleep(0.1)
    os.killpg(watching.pid, signal.SIGTERM)
    sandbox.await_success("grep -q key-b bot.out && guardcheck status trading_bot | grep -q slot")


def guards_itself(sandbox, block):
    """The line works however the script is called, and below another guarded program."""
    sandbox.program("bin/nightly.sh", block.text + 'echo "guarded as $SOLEGUARD_NAME: $*"\n')
    shutil.copy(sandbox.directory / "bin/nightly.sh", sandbox.directory)
    for call in ("./nightly.sh", "bash nightly.sh", "nightly.sh", "bash bin/nightly.sh",
                 "guardcheck run other -- ./nightly.sh", "guardcheck run nightly -- ./nightly.sh",
                 "set -u; ./nightly.sh"):
        code, output = sandbox.shell(f"{call} a 'b c'")
        require((code, output) == (0, "guarded as nightly: a b c\n"),
                f"'{call}' ends with {code}:\n{output}")
    # Below another program it is refused while somebody else has the name.
    sandbox.begin("guardcheck run nightly -- python3 bot.py")
    sandbox.await_success("guardcheck status nightly")
    for call in ("./nightly.sh", "guardcheck run other -- bash nightly.sh"):
        code, output = sandbox.shell(call)
        require(code == 75 and "guarded as" not in output, f"'{call}' ends with {code}:\n{output}")


def desktop(sandbox, block):
    """The second start of the .desktop file raises the window of the first, with its proof."""
    hook = next(each for each in blocks_of(ROOT / block.page) if each.language == "python")
    path = sandbox.program("raise", hook.text)
    sandbox.program("bin/viewer", "#!/bin/sh\nexec /bin/sleep 60\n")
    sandbox.program("bin/viewer-remote",
                    '#!/bin/sh\necho "$XDG_ACTIVATION_TOKEN,$DESKTOP_STARTUP_ID,$*" >seen\n')
    line = block.first.removeprefix("Exec=").replace("/usr/lib/viewer/raise", str(path))
    sandbox.begin(line.replace("%U", "first.html"))
    sandbox.await_success("guardcheck status viewer | grep -q 'guarded by guardcheck'")
    code, output = sandbox.shell("XDG_ACTIVATION_TOKEN=t-1 DESKTOP_STARTUP_ID=s_2 "
                                 + line.replace("%U", "second.html"))
    require(code == 0, f"the second start ends with {code}: {output}")
    seen = (sandbox.directory / "seen").read_text()
    require(seen == "t-1,s_2,--open second.html\n", f"the program that raises gets {seen}")


DRAWING = no("a drawing")

# (page, how the first line begins): what is done. Only blocks of the languages in DECIDED.
EXAMPLE = "run by its demo.sh (docs.examples)"

BLOCKS = {
    ("README.md", "tools/try.sh "):
        no("installs and builds; the tests try.main_job and setup.profiles run what they do"),
    ("README.md", "$ guardcheck run polling_bot"): refusal,
    ("README.md", "guardcheck: polling_bot is already running"):
        no("compared by the block before it"),
    ("docs/architecture.md", "guardcheck (tools/)            your program"): DRAWING,
    ("docs/architecture.md", "tools/guardcheck/        the command"): DRAWING,
    ("docs/architecture.md", "Guard::Acquire"): DRAWING,
    ("docs/architecture.md", "nothing, or the record of the last holder"): DRAWING,
    ("docs/guardcheck.md", "guardcheck run NAME [options]"): synopsis,
    ("docs/guardcheck.md", "guardcheck run trading_bot --slots 3"): each_line,
    ("docs/guardcheck.md", "Exec=guardcheck run viewer"): desktop,
    ("docs/guardcheck.md", "$ guardcheck doctor trading_bot"): first_line,
    ("docs/guardcheck.md", "$ guardcheck history polling_bot"): first_line,
    ("docs/guardcheck.md", "guardcheck watch bot --once"): each_line,
    ("docs/guardcheck.md", "guardcheck report trading_bot"): runs(code=69),
    ("docs/examples/eight-copies/README.md", "guardcheck run"): no(EXAMPLE),
    ("docs/examples/judged-by-age/README.md", "guardcheck run"): no(EXAMPLE),
    ("docs/examples/relative-path/README.md", "guardcheck run"): no(EXAMPLE),
    ("docs/examples/trading-bot/README.md", "guardcheck run"): no(EXAMPLE),
    ("docs/examples/two-pollers/README.md", "guardcheck run"): no(EXAMPLE),
    ("docs/guardcheck.md", "export SOLEGUARD_POLICY=strict"): start_one,
    ("docs/guardcheck.md", "guardcheck run trading_bot --slots 2"): another_key,
    ("docs/guardcheck.md", "#!/bin/bash"): no("run by the block before it"),
    ("docs/guardcheck.md", "source <(guardcheck completion bash)"): runs(),
    ("docs/systemd.md", "*/5 * * * * "): cron,
    ("docs/systemd.md", "guardcheck run backup -- ./backup.sh"): each_line,
    ("docs/systemd.md", "#!/bin/bash"): guards_itself,
}

DECIDED = ("", "sh", "bash", "desktop")

# ---- single commands -----------------------------------------------------------------------------

# Words that stand for something in the running text.
PLACEHOLDERS = {"NAME": "bot", "WORDS": "words", "POLICY": "default", "COMMAND": "./bot",
                "D": "./bot", "PROGRAM": "./bot", "TEXT": "text", "DURATION": "1s",
                "path=…": "path=$PWD/x.lock"}
# Spans that are no command lines, and why.
NO_COMMANDS = {
    "completion bash|zsh|fish": "a choice",
    "doctor [NAME]": "a form",
}


def command_of(span):
    """A span of code as a command line, if it is one."""
    words = span.removeprefix("guardcheck ").split()
    if len(words) < 2 or words[0] not in COMMANDS or " ".join(words) in NO_COMMANDS:
        return None
    if words[1].startswith("--"):  # an option by its name: there is one
        option = words[1].split("=")[0]
        return f"guardcheck {words[0]} --help | grep -q -e {option} || exit {USAGE}"
    if words[0] == "run" and "--" not in words:
        words += ["--", "./bot"]
    line = " ".join(words)
    for placeholder, value in PLACEHOLDERS.items():
        line = re.sub(rf"(?<![\w-]){re.escape(placeholder)}(?!\w)", value, line)
    return f"guardcheck {line}".replace("'file(path=$PWD/x.lock)'", '"file(path=$PWD/x.lock)"')


# What they print when they have begun, and go on.
BOT_RUNS = re.compile(r"^(no key|key-\w)$", re.MULTILINE)
WATCH_RUNS = re.compile(r"^\S+ \S+ UTC  ", re.MULTILINE)


def understood(sandbox, line):
    """It ends, or begins what goes on until it is ended; and is no usage error."""
    line = line.replace("/opt/", "./opt/")
    begun = BOT_RUNS if "bot.py" in line else WATCH_RUNS
    child = sandbox.begin(line)
    end = time.monotonic() + PATIENCE
    while child.poll() is None:
        if begun.search(sandbox.printed(child)):
            os.killpg(child.pid, signal.SIGTERM)
            child.wait(timeout=PATIENCE)
            return
        require(time.monotonic() < end, f"'{line}' neither ends nor says anything")
        time.sleep(0.01)
    code, output = sandbox.finish(child)
    require(code not in (USAGE, NOT_EXECUTABLE, NOT_FOUND),
            f"'{line}' ends with {code}:\n{output}")


def exec_start(sandbox, text):
    """The command lines of a unit; the scope is made by the manager."""
    for line in re.findall(r"^ExecStart=(.*)$", text, re.MULTILINE):
        line = re.sub(r"--scope \S+", "", line).replace("/usr/bin/", "").replace("%i", "bot")
        line = re.sub(r"-- \S+", "-- ./bot", line)
        understood(sandbox, line)


# ---- all of it -----------------------------------------------------------------------------------


def checks():
    """(what it is called, what it does in a sandbox)"""
    unused = set(BLOCKS)
    for path in pages():
        for block in blocks_of(path):
            if block.language in DECIDED:
                keys = [key for key in BLOCKS
                        if key[0] == block.page and block.first.startswith(key[1])]
                unused.difference_update(keys)
                yield f"{block} {block.first}", decided(keys, block)
            elif block.language == "ini":
                yield f"{block} {block.first}", (
                    lambda sandbox, text=block.text: exec_start(sandbox, text))
        commands = {command_of(span): span for span in spans_of(path)}
        commands.pop(None, None)
        for command, span in commands.items():
            yield f"{path.relative_to(ROOT)} `{span}`", (
                lambda sandbox, command=command: understood(sandbox, command))
    for path in sorted((ROOT / "docs/systemd").glob("*.service")):
        yield str(path.relative_to(ROOT)), (
            lambda sandbox, path=path: exec_start(sandbox, path.read_text(encoding="utf-8")))
    for page, first in sorted(unused):
        yield f"{page} {first}", fails("a decision about a block that is not there (any more)")


def decided(keys, block):
    if len(keys) != 1:
        return fails(f"a block with {len(keys)} decisions: it needs one in BLOCKS of this file")
    return lambda sandbox: BLOCKS[keys[0]](sandbox, block)


def fails(why):
    def do(sandbox):
        raise Failure(why)

    return do


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    guardcheck = os.path.abspath(sys.argv[1])
    wanted = sys.argv[2] if len(sys.argv) == 3 else ""
    count = failed = 0
    for name, do in checks():
        if wanted not in name:
            continue
        count += 1
        sandbox = Sandbox(guardcheck)
        try:
            do(sandbox)
        except (Failure, subprocess.TimeoutExpired) as failure:
            failed += 1
            print(f"{name}\n    {failure}\n")
        finally:
            sandbox.close()
    print(f"{count} blocks and commands, {failed} failed")
    sys.exit(failed != 0)


if __name__ == "__main__":
    main()
