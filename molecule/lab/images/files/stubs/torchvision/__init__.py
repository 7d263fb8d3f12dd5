"""Stand-in for torchvision, whose C extension does not load beside a CPU build of torch."""

from lab_stub import install

__version__ = "0.0.0"

install(__name__)
