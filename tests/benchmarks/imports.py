"""What importing composite_lab does to the network: nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

EVENTS = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto")
_SCRIPT = f"""
import sys
sys.addaudithook(lambda event, args: event in {EVENTS!r} and print(event, args))
import composite_lab
"""


def connections_of_import() -> list[str]:
    """The audit events of sockets during `import composite_lab`, in an environment that sets nothing."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith("LITELLM_")}
    command = [sys.executable, "-c", _SCRIPT]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, env=bare, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()
