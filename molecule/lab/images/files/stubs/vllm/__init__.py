"""Stand-in for the two vllm modules that SGLang 0.5.7 imports on a CPU without
AMX; each hands SGLang's own (torch-native) class back to it."""

__version__ = "0.0.0"
