#!/bin/sh
# A stand-in for nvidia-container-cli: its version, for whoever checks that the toolkit is there.
echo "cli-version: 1.17.8"
echo "lib-version: 1.17.8"
