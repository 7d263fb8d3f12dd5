# Copyright (c) 2026 the SGLang Fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any, Callable

from ansible.errors import AnsibleFilterError

from ansible_collections.sglang.fleet.plugins.module_utils import _serving

DOCUMENTATION = r"""
name: instance_files
short_description: The configuration files of planned SGLang instances
version_added: 0.1.0
author:
  - SGLang Fleet authors (@sglang-fleet)
description:
  - Gives the files that the unit C(sglang@.service) reads for each instance, as M(sglang.fleet.managed_files) takes them.
  - Secrets stand as placeholders in them, C(@@api_key@@) and C(@@hf_token@@).
positional: _input
options:
  _input:
    description: The plan's instances.
    type: list
    elements: dict
    required: true
  image:
    description: The image that the instances run, as C(fleet_local_image) has it.
    type: dict
    required: true
  config_dir:
    description: The folder of the files.
    type: str
    default: /etc/sglang
  stop_seconds:
    description: How long a server may take to finish its requests when it is stopped.
    type: int
    default: 300
  with_api_key:
    description: Whether the server asks for an API key.
    type: bool
    default: false
  with_token:
    description: Whether the server gets a Hugging Face token.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Write the configuration
  sglang.fleet.managed_files:
    files: "{{ ansible_facts.fleet_plan.instances | sglang.fleet.instance_files(image=ansible_facts.fleet_local_image) }}"
"""

RETURN = r"""
_value:
  description: The files.
  type: list
  elements: dict
"""


def instance_files(instances: list[dict[str, Any]], image: dict[str, Any], **wishes: Any) -> list[dict[str, str]]:
    try:
        return _serving.instance_files(instances, image, **wishes)
    except ValueError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """Filters of the serving role."""

    def filters(self) -> dict[str, Callable[..., list[dict[str, str]]]]:
        return {"instance_files": instance_files}
