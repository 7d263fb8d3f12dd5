# Copyright (c) 2026 the SGLang Fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Records held against the catalogue's references and a host's own: what the filters of both gates have in common."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import load_catalogue
from ansible_collections.sglang.fleet.plugins.module_utils._catalogue_checks import CatalogueError
from ansible_collections.sglang.fleet.plugins.module_utils._compare import CompareError
from ansible_collections.sglang.fleet.plugins.module_utils._judge import read_stored, stored


def judged(
    judge: t.Callable[..., dict[str, t.Any]],
    records: t.Sequence[t.Mapping[str, t.Any]],
    last_good: t.Mapping[str, t.Any] | None,
    catalogue: t.Mapping[str, t.Any] | None,
    wishes: t.Callable[[t.Mapping[str, t.Any]], t.Mapping[str, t.Any]],
) -> dict[str, t.Any]:
    """A gate's judgement, with `stored`: what the file of last good records is to hold. last_good: that file's content.

    wishes: from the catalogue's data to the judge's further arguments; raises CompareError for what makes no sense.

    Raises AnsibleFilterError for whatever the operator got wrong.
    """
    try:
        data = load_catalogue(catalogue or None).data
        said = judge(records, data["references"], read_stored(last_good), **wishes(data))
    except (CatalogueError, CompareError) as error:
        raise AnsibleFilterError(str(error)) from error
    return {**said, "stored": stored(said["last_good"])}
