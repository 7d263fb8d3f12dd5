"""Stand-in for sgl-kernel. On a CPU without AMX SGLang takes its torch-native paths instead."""

from lab_stub import install

__version__ = "0.4.1"

install(__name__)
