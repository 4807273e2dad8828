"""A disk whose power can be cut: an ext4 file system in a file, mounted over a node's folder."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path


def unavailable() -> str | None:
    """Why there can be no such disk here, if so."""
    if os.geteuid() != 0:
        return "mounting needs root"
    if shutil.which("mkfs.ext4") is None:
        return "needs mkfs.ext4 (e2fsprogs)"
    with tempfile.TemporaryDirectory() as scratch:
        disk = PowerDisk(Path(scratch) / "image", Path(scratch) / "mount", megabytes=16)
        (Path(scratch) / "mount").mkdir()
        try:
            disk.make()
        except subprocess.CalledProcessError as error:
            return f"loop devices are not allowed here: {(error.stderr or b'').decode().strip()}"
        disk.unmount()
    return None


class PowerDisk:
    """The image and where it is mounted."""

    def __init__(self, image: Path, mount: Path, *, megabytes: int = 256) -> None:
        self._image = image
        self.mount = mount
        self._megabytes = megabytes

    def make(self) -> None:
        """Format and mount, over what the folder holds: its content is copied onto the disk first."""
        with self._image.open("wb") as file:
            file.truncate(self._megabytes << 20)
        # Nothing is kept back for root, which would not notice that the disk is full.
        _run("mkfs.ext4", "-q", "-F", "-m", "0", str(self._image))
        with tempfile.TemporaryDirectory() as aside:
            shutil.copytree(self.mount, aside, dirs_exist_ok=True)
            self.remount(first=True)
            shutil.copytree(aside, self.mount, dirs_exist_ok=True)
        os.sync()

    def remount(self, *, first: bool = False) -> None:
        """Power is back: the file system replays its journal."""
        if not first:
            self.unmount()
        _run("mount", "-o", "loop", str(self._image), str(self.mount))

    def unmount(self) -> None:
        """Take the disk away."""
        _run("umount", str(self.mount))


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
