#!/usr/bin/env bash
# Makes pictures of the pages of the examples with Chromium, in the size of a phone and of a screen, for people to look at:
#
#	examples/screenshots.sh DIRECTORY
set -euo pipefail
EVMQ_SCREENSHOTS=$(realpath "${1:?the directory for the pictures is missing}") && export EVMQ_SCREENSHOTS
cd "$(dirname "$0")"
EVMQ_FOREIGN=1 go test -count=1 -run InChromium .
ls "$EVMQ_SCREENSHOTS"
