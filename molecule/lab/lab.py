#!/usr/bin/env python3
"""The lab on this machine: systemd nodes with a real Docker engine, simulated GPUs, and a real registry."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from fleetlab.cli import main

if __name__ == "__main__":
    sys.exit(main())
