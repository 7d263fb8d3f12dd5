#!/bin/sh
# A stand-in for nvidia-container-cli: its version, for whoever checks that the toolkit is there.
version=$(cat /usr/share/fakegpu/toolkit 2> /dev/null || echo 1.17.8)
echo "cli-version: $version"
echo "lib-version: $version"
