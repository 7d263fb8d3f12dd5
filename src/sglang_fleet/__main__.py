# SPDX-FileCopyrightText: the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""``python -m sglang_fleet`` is the same program as ``sglang-fleet``."""

from sglang_fleet.cli import main

if __name__ == "__main__":
    main()
