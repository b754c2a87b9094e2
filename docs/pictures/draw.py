#!/usr/bin/env python3
"""Draws what guardcheck and launch_storm show on a terminal of 80 columns.

    sudo docs/pictures/draw.py PROGRAMS [DIRECTORY]

PROGRAMS is where the two are (build/release/bin). Each picture is an SVG file in DIRECTORY, by
default this one, and shows a command and what the real program has printed. They are started as
user trader on host desk, in namespaces of their own, with a /home, a /run/lock and a
/usr/local/bin that nobody else sees: it needs root, and changes nothing.
"""
import html
import os
import pathlib
import pty
import re
import shutil
import signal
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
COLUMNS = 80
SKIPPED = 77  # the exit code
USER = "1000"
BOT = """import time
print("ready", flush=True)
time.sleep(1000)
"""


# ---- a place of its own --------------------------------------------------------------------------


def mount_tmpfs(path, mode):
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"mode={mode}", "tmpfs", path], check=True)


def prepare(programs, disk):
    """From here on this process sees a machine as the pictures show it; `disk` is its /home."""
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    subprocess.run(["hostname", "desk"], check=True)
    programs = [(name, pathlib.Path(programs, name).read_bytes())
                for name in ("guardcheck", "launch_storm")]
    accounts = pathlib.Path("/etc/passwd").read_text()
    for path, mode in (("/run/lock", "1777"), ("/usr/local/bin", "755")):
        mount_tmpfs(path, mode)
    os.chmod(disk, 0o755)
    subprocess.run(["mount", "--bind", disk, "/home"], check=True)
    for name, content in programs:
        target = pathlib.Path("/usr/local/bin", name)
        target.write_bytes(content)
        target.chmod(0o755)
    others = [line for line in accounts.splitlines() if line.split(":")[2] != USER]
    passwd = pathlib.Path("/home/passwd")
    passwd.write_text("\n".join(others + [f"trader:x:{USER}:{USER}::/home/trader:/bin/sh"]) + "\n")
    subprocess.run(["mount", "--bind", passwd, "/etc/passwd"], check=True)
    home = pathlib.Path("/home/trader")
    home.mkdir()
    (home / "bot.py").write_text(BOT)
    for path in (home, home / "bot.py"):
        os.chown(path, int(USER), int(USER))


def as_trader(words):
    return ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "env", "-i",
            "PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/home/trader", "TERM=xterm",
            "LANG=C.UTF-8", *words]


def start(words):
    """In the background; returns once the bot has said that it is ready."""
    program = subprocess.Popen(as_trader(words), cwd="/home/trader", stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    line = program.stdout.readline()
    if line != "ready\n":
        raise RuntimeError(f"{words}: {line}{program.stderr.read()}")
    return program


def screen(words):
    """What a program shows on a terminal."""
    pid, terminal = pty.fork()
    if pid == 0:
        subprocess.run(["stty", "cols", str(COLUMNS), "rows", "50"], check=True)
        os.chdir("/home/trader")
        os.execvp("setpriv", as_trader(words))
    shown = b""
    while True:
        try:
            part = os.read(terminal, 65536)
        except OSError:  # EIO: the other end was closed
            break
        if not part:
            break
        shown += part
    os.close(terminal)
    os.waitpid(pid, 0)
    return shown.decode()


# ---- the pictures --------------------------------------------------------------------------------

WIDTH, HEIGHT, MARGIN = 8.4, 19, 16  # of a character, of a line


def spans(line):
    """A line's text, with what is bold as such."""
    drawn, bold = "", False
    for part in re.split(r"(\x1b\[[0-9]*m)", line):
        if part.startswith("\x1b"):
            bold = part == "\x1b[1m"
        elif part:
            text = html.escape(part)
            drawn += f'<tspan class="b">{text}</tspan>' if bold else text
    return drawn


def rows_of(line):
    """As the terminal breaks it. (No program shows a bold line that long.)"""
    line = line.rstrip("\r").rpartition("\r")[2]  # a program may write over what it has written
    if "\x1b" in line or len(line) <= COLUMNS:
        return [line.rstrip()]
    return [line[at:at + COLUMNS].rstrip() for at in range(0, len(line), COLUMNS)]


def draw(path, command, shown):
    lines = [f"\x1b[1m$ {command}\x1b[0m"]
    for line in shown.rstrip().split("\n"):
        lines += rows_of(line)
    wide, high = COLUMNS * WIDTH + 2 * MARGIN, len(lines) * HEIGHT + 2 * MARGIN
    rows = [f'<text x="{MARGIN}" y="{MARGIN + HEIGHT * i + 14}">{spans(line)}</text>'
            for i, line in enumerate(lines)]
    path.write_text("\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide:.0f}" height="{high}" '
        f'viewBox="0 0 {wide:.0f} {high}" role="img" xml:space="preserve">',
        f"<title>{html.escape(command)}</title>",
        "<style>text{font:14px ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace;"
        "fill:#d8dee9;white-space:pre}.b{font-weight:bold;fill:#fff}</style>",
        f'<rect width="{wide:.0f}" height="{high}" rx="8" fill="#1f2430"/>',
        *rows, "</svg>", ""]))


def draw_all(directory):
    bot = ["guardcheck", "run", "bot", "--", "python3", "bot.py"]

    def picture(name, command, expected):
        shown = screen(["sh", "-c", command])
        if expected not in shown:
            raise RuntimeError(f"{command} does not show '{expected}':\n{shown}")
        draw(directory / f"{name}.svg", command, shown)

    subprocess.run(as_trader(["guardcheck", "run", "bot", "--", "false"]), check=False)
    holder = start(bot)
    other = start(["guardcheck", "run", "poll", "--", "python3", "bot.py"])
    standby = subprocess.Popen(as_trader([*bot[:3], "--wait", *bot[3:]]), cwd="/home/trader",
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    standby.stderr.readline()  # that it waits
    try:
        picture("refusal", " ".join(bot), "What you can do")
        picture("status", "guardcheck status bot", "Who waits")
        picture("list", "guardcheck list", "poll")
        picture("history", "guardcheck history bot", "was refused by")
        picture("doctor", "guardcheck doctor bot", "bot can be guarded here")
        picture("launch_storm", "launch_storm --launches 50 --rounds 4", "0 violations")
    finally:
        for program in (standby, holder, other):
            program.send_signal(signal.SIGTERM)
            program.wait()


def main(words):
    if len(words) not in (1, 2):
        sys.exit(__doc__)
    inside = "SOLEGUARD_PICTURES" in os.environ
    if not inside:
        can_hide = os.geteuid() == 0 and shutil.which("unshare") is not None and subprocess.run(
            ["unshare", "--mount", "--uts", "true"], check=False).returncode == 0
        if not can_hide:
            print("draw.py needs root, and namespaces (unshare(1))")
            sys.exit(SKIPPED)
        os.environ["SOLEGUARD_PICTURES"] = "1"
        os.execvp("unshare", ["unshare", "--mount", "--uts", sys.executable, __file__, *words])
    # Open before /home is another one: the checkout may be there.
    directory = pathlib.Path(f"/proc/self/fd/{os.open(words[1] if len(words) > 1 else HERE, os.O_PATH)}")
    os.umask(0o022)
    with tempfile.TemporaryDirectory(dir="/var/tmp") as disk:
        prepare(words[0], disk)
        draw_all(directory)
        os.chdir("/")


if __name__ == "__main__":
    main(sys.argv[1:])
