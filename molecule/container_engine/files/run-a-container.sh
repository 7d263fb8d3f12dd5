#!/usr/bin/env bash
# A container from the node's own files: there is no small image to pull.
set -euo pipefail
tar -C / -c bin lib lib64 usr/bin usr/lib64 usr/lib/x86_64-linux-gnu | docker import - lives:on
docker run -d --name lives lives:on sleep 3600
