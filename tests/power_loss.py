"""A disk that keeps what was synced and nothing else: replays a program's recorded system calls, strictly by POSIX.

    disk = replay(record([sys.executable, "driver.py", folder], folder), folder)
    for image in disk.images: image.write_to(empty); ...

`record` runs a program under strace. `replay` keeps two states of every file and directory under the folder: what
programs see, and what is on the disk. fsync of a file brings its content there, fsync of a directory its entries
(creations, renames, removals); nothing else does. Whatever is not reachable from the folder by entries on the disk is
lost, a file whose entry is there and whose content was not synced is empty, or ends in the middle (`torn`). An image is
taken at every event after which the disk has changed or the program said that something is durable, by printing a line.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_CALLS = (
    "openat,open,creat,write,pwrite64,writev,fsync,fdatasync,ftruncate,truncate,?mkdir,mkdirat,?rename,renameat,"
    "renameat2,?unlink,unlinkat,?rmdir,lseek"
)
_LINE = re.compile(r"^(?P<pid>\d+) +(?P<call>\w+)\((?P<arguments>.*)\) += (?P<result>-?\d+)(?P<path><[^>]*>)?")
_STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_DESCRIPTOR = re.compile(r"^(\d+|AT_FDCWD)<([^>]*)>")


@dataclass(eq=False)
class File:
    """Content as programs see it, and as it is on the disk."""

    content: bytearray = field(default_factory=bytearray)
    durable: bytes = b""


@dataclass(eq=False)
class Folder:
    """Entries likewise."""

    entries: dict[str, File | Folder] = field(default_factory=dict)
    durable: dict[str, File | Folder] = field(default_factory=dict)


@dataclass(frozen=True)
class Image:
    """What a power loss at one moment leaves: path -> content, None for directories; what had been said by then."""

    files: dict[str, bytes | None]
    said: tuple[str, ...]

    def write_to(self, folder: Path) -> None:
        """Lay it out in an empty folder."""
        for name, content in self.files.items():
            if content is None:
                (folder / name).mkdir()
            else:
                (folder / name).write_bytes(content)


def record(command: Sequence[str], environment: dict[str, str], trace: Path) -> Path:
    """Run a program under strace; the file of its calls."""
    words = ["strace", "-f", "-y", "-xx", "-s", "100000000", "-e", f"trace={_CALLS}", "-o", str(trace), *command]
    subprocess.run(words, env=environment, check=True, stdout=subprocess.PIPE, timeout=280)
    return trace


class Disk:
    """The folder `root` as the calls leave it; `images` of the losses on the way."""

    def __init__(self, root: Path) -> None:
        self.root, self.top = root, Folder()
        self.images: list[Image] = []
        self.said: list[str] = []
        self._positions: dict[tuple[str, str], int] = {}

    def do(self, pid: str, call: str, arguments: str, result: int, opened: str) -> None:
        """Apply one call that succeeded."""
        strings = [bytes.fromhex(text.replace("\\x", "")) for text in _STRING.findall(arguments)]
        match = _DESCRIPTOR.match(arguments)
        number, target = (match[1], _decode(match[2])) if match else ("", "")
        if call == "write" and number == "1":
            self.said += strings[0].decode().split("\n")[:-1]
            self._take()
        elif call in ("open", "openat", "creat"):
            self._open(pid, str(result), _decode(opened), arguments)
        elif call in ("write", "pwrite64", "writev", "ftruncate", "fsync", "fdatasync", "lseek"):
            node = self._find(target)
            if isinstance(node, File):
                self._on_file(node, (pid, number), call, arguments, b"".join(strings), result)
            elif isinstance(node, Folder) and call == "fsync":
                node.durable = dict(node.entries)
                self._take()
        else:
            self._on_names(call, arguments, [text.decode() for text in strings])

    def _open(self, pid: str, number: str, path: str, arguments: str) -> None:
        folder, name = self._place(path)
        if folder is None:
            return
        node = folder.entries.get(name)
        if node is None and "O_CREAT" in arguments:
            node = folder.entries[name] = File()
        if isinstance(node, File):
            if "O_TRUNC" in arguments:
                node.content.clear()
            self._positions[number, path] = -1 if "O_APPEND" in arguments else 0

    def _on_file(self, node: File, key: tuple[str, str], call: str, arguments: str, data: bytes, result: int) -> None:
        place = next(path for (number, path) in self._positions if number == key[1] and self._find(path) is node)
        position = self._positions[key[1], place]
        if call in ("write", "writev", "pwrite64"):
            if call == "pwrite64":
                start = int(arguments.rsplit(",", 1)[1])
            else:
                start = len(node.content) if position < 0 else position
                self._positions[key[1], place] = position if position < 0 else start + result
            node.content[start : start + result] = data[:result]
        elif call == "lseek":
            self._positions[key[1], place] = position if position < 0 else result
        elif call == "ftruncate":
            size = int(arguments.rsplit(",", 1)[1])
            node.content[:] = node.content[:size].ljust(size, b"\0")
        else:
            node.durable = bytes(node.content)
            self._take()

    def _on_names(self, call: str, arguments: str, names: list[str]) -> None:
        bases = [
            _decode(base) for base in re.findall(r"AT_FDCWD<([^>]*)>|\d+<([^>]*)>", arguments) for base in base if base
        ]
        paths = [
            name if name.startswith("/") else f"{bases[min(i, len(bases) - 1)]}/{name}" for i, name in enumerate(names)
        ]
        folder, name = self._place(paths[0])
        node = self._find(paths[0])
        if call == "truncate" and isinstance(node, File):
            size = int(arguments.rsplit(",", 1)[1])
            node.content[:] = node.content[:size].ljust(size, b"\0")
        if call.startswith("mkdir") and folder is not None:
            folder.entries[name] = Folder()
        elif call.startswith(("unlink", "rmdir")) and folder is not None:
            folder.entries.pop(name, None)
        elif call.startswith("rename"):
            target, new_name = self._place(paths[1])
            if folder is None and target is None:
                return  # elsewhere: a cache in the home folder
            assert folder is not None and target is not None
            target.entries[new_name] = folder.entries.pop(name)
            for (number, path), position in list(self._positions.items()):
                if path == paths[0] or path.startswith(f"{paths[0]}/"):
                    self._positions[number, paths[1] + path[len(paths[0]) :]] = position

    def _place(self, path: str) -> tuple[Folder | None, str]:
        """The folder of a path under the root, and its name there."""
        above, _, name = path.rpartition("/")
        parent = self._find(above)
        return (parent, name) if isinstance(parent, Folder) else (None, "")

    def _find(self, path: str) -> File | Folder | None:
        if path == str(self.root):
            return self.top
        if not path.startswith(f"{self.root}/"):
            return None
        node: File | Folder | None = self.top
        for part in path[len(str(self.root)) + 1 :].split("/"):
            node = node.entries.get(part) if isinstance(node, Folder) else None
        return node

    def _take(self) -> None:
        image = Image(dict(_walk(self.top, durable=True)), tuple(self.said))
        if not self.images or self.images[-1] != image:
            self.images.append(image)

    def torn(self) -> Iterator[Image]:
        """The last image with what was written after the last sync of each file there in part."""
        for share in (0.3, 0.9):
            files = dict(_walk(self.top, durable=True, share=share))
            yield Image(files, tuple(self.said))


def replay(trace: Path, root: Path) -> tuple[Disk, list[Image]]:
    """The disk at the end, and the images: of every moment, and with torn tails before every sync of a file."""
    disk, waiting, torn = Disk(root), {}, []
    for line in trace.read_text(encoding="ascii", errors="replace").splitlines():
        pid = line.split(" ", 1)[0]
        if line.endswith("<unfinished ...>"):
            waiting[pid] = line.removesuffix("<unfinished ...>").rstrip()
            continue
        resumed = re.match(r"^\d+ +<\.\.\. \w+ resumed>(.*)$", line)
        if resumed:
            line = waiting.pop(pid) + resumed[1]
        match = _LINE.match(line)
        if match is None or int(match["result"]) < 0:
            continue
        if match["call"] in ("fsync", "fdatasync"):
            torn += disk.torn()
        disk.do(pid, match["call"], match["arguments"], int(match["result"]), (match["path"] or "<>")[1:-1])
    return disk, [*disk.images, *torn]


def _walk(folder: Folder, prefix: str = "", *, durable: bool, share: float = 0.0) -> Iterator[tuple[str, bytes | None]]:
    for name, node in sorted((folder.durable if durable else folder.entries).items()):
        if isinstance(node, Folder):
            yield f"{prefix}{name}", None
            yield from _walk(node, f"{prefix}{name}/", durable=durable, share=share)
        elif durable:
            behind = bytes(node.content[len(node.durable) :]) if node.content.startswith(node.durable) else b""
            yield f"{prefix}{name}", node.durable + behind[: int(share * len(behind))]
        else:
            yield f"{prefix}{name}", bytes(node.content)


def contents(disk: Disk) -> dict[str, bytes | None]:
    """What programs see: to be compared with the real folder, so that the replay itself is tested."""
    return dict(_walk(disk.top, durable=False))


def _decode(text: str) -> str:
    return re.sub(r"\\x([0-9a-f]{2})", lambda match: chr(int(match[1], 16)), text)
