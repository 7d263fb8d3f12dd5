#!/bin/sh
# A stand-in for NVIDIA's runtime, for a daemon.json that names it: the GPUs come through the hook.
exec runc "$@"
