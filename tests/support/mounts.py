"""Small and read-only file systems, in a mount namespace of their own."""

import shutil
import subprocess

NAMESPACE = ["unshare", "--mount"]
_TRIED = [*NAMESPACE, "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
can_mount = (
    shutil.which("unshare") is not None
    and subprocess.run(_TRIED, check=False, capture_output=True).returncode == 0
)


def on_mounted(folder, options, words):
    """The command line of a program that finds a new file system at `folder`."""
    mount = 'mount -t tmpfs -o "$0" tmpfs "$1" && shift && exec "$@"'
    return [*NAMESPACE, "sh", "-c", mount, options, str(folder), *words]
