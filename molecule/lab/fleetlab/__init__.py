"""The lab: systemd nodes with a real Docker engine, simulated GPUs and a real registry, in containers."""
