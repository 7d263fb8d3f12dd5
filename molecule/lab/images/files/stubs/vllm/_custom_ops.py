def rotary_embedding(*_args, **_kwargs):
    raise RuntimeError("vllm does not exist in this image")
