import sys

_own = sys.modules["sglang.srt.layers.layernorm"]  # which imports this as its last statement
RMSNorm, GemmaRMSNorm = _own.RMSNorm, _own.GemmaRMSNorm
