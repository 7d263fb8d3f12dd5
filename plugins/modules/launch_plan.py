#!/usr/bin/python
# Copyright (c) 2026 SGLang Fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The work is done on the controller, by the action plugin of the same name. This file carries its documentation.

from __future__ import annotations

DOCUMENTATION = r"""
module: launch_plan
short_description: Plan how a host serves a model
version_added: 0.1.0
description:
  - Works out image, patches, GPUs and ports of each server instance, tensor and expert parallelism, server arguments and
    container options, from the host's GPU facts, the collection's catalogue and the wishes given here.
  - Refuses what the model's arithmetic does not allow or the GPUs have no memory for, and names what is allowed.
  - Runs on the controller. It needs no connection.
options:
  model:
    description: Name of a model in the catalogue, or its Hugging Face repository.
    type: str
    default: M2.7
  gpu:
    description:
      - The GPU facts to plan for, or a GPU of the catalogue to plan without a host, as V(NAME:COUNT) such as V(H200:8), or
        as V(NAME) with O(count).
      - Left out, the facts that M(sglang.fleet.gpu_facts) gathered for the host.
    type: raw
  count:
    description: How many GPUs, where O(gpu) is a name. Left out, what the published generator picks for the model.
    type: int
  gpu_memory_mib:
    description: Memory of one GPU in MiB, where O(gpu) is a name. Left out, the catalogue's figure.
    type: int
  layout:
    description:
      - V(auto), or V(NxT) for N instances of T GPUs each, such as V(2x4).
      - V(auto) is the published command for the host's count of GPUs. Where there is none, it is instances of a size that
        the model and the memory allow and that leaves the fewest GPUs idle.
    type: str
    default: auto
  ep:
    description: Expert parallel size of an instance, 1 for none. Left out, the published one, or one that is legal.
    type: int
  profile:
    description: Name of a container profile in the catalogue, V(hardened) or V(cookbook).
    type: str
    default: hardened
  address:
    description: Address that the servers bind.
    type: str
    default: 127.0.0.1
  port:
    description: Port of the first instance; the next ones follow it.
    type: int
    default: 30000
  context_length:
    description: Longest request in tokens that must fit. Left out, the model's own limit, as far as the memory goes.
    type: int
  mem_fraction_static:
    description: Share of the GPU memory for weights and KV cache. Left out, the model's published value.
    type: float
  reasoning_parser:
    description: Whether thinking is parsed. Left out, the published default of the model.
    type: bool
  tool_call_parser:
    description: Whether tool calls are parsed. Left out, the published default of the model.
    type: bool
  enable_metrics:
    description: Whether the servers offer Prometheus metrics.
    type: bool
    default: false
  extra_args:
    description:
      - Further server arguments, SGLang's long option names without dashes. V(true) is a bare flag.
      - They are held against the argument parser's own list for the image's version of SGLang.
      - V(false) or null takes an argument of the plan away.
      - Arguments that the plan sets itself, that change how many GPUs a server takes (data and pipeline parallelism, several
        nodes), TLS and secrets are refused.
    type: dict
    default: {}
  image:
    description: Image reference to use instead of the published one, for example a mirror's. All else stays.
    type: str
  sglang_version:
    description:
      - Version of SGLang whose image is taken from the catalogue, such as V(0.5.9).
      - Left out, the one published for the model and the GPU, or the newest for the GPU.
    type: str
  weights_dir:
    description: Folder of the host that holds the weights.
    type: path
    default: /var/lib/sglang-fleet/huggingface
  allow_known_issues:
    description:
      - Names of known issues to set aside. One that refuses a plan no longer does, one that changes it leaves it as
        published, one that warns does so in the plan only.
    type: list
    elements: str
    default: []
  patches:
    description:
      - Further patches of the image, applied after those that the catalogue gives it, in the same form with a C(name) each.
      - Needs C(jsonschema) on the controller.
    type: list
    elements: dict
    default: []
  catalogue:
    description: Entries to add to or to change in the catalogue, of the same shape. Needs C(jsonschema) on the controller.
    type: dict
    default: {}
  require_driver:
    description: Whether a driver that is missing or too old for the image refuses the plan. If not, it is a warning.
    type: bool
    default: true
  lock:
    description:
      - The lock that the plan must be of, as a mapping, or the path of its file on the controller, which C(sglang-fleet lock)
        writes. A file that is not there is refused.
      - A plan that differs from the locked one is refused, with every difference.
    type: raw
  weights:
    description:
      - V(auto) has the servers take the weights that the lock names, and reach for nothing else.
      - V(server) leaves the weights to the servers.
    type: str
    choices: [auto, server]
    default: auto
author:
  - SGLang Fleet contributors (@sglang-fleet)
extends_documentation_fragment:
  - sglang.fleet.attributes.read_only
  - sglang.fleet.attributes.controller
  - sglang.fleet.attributes.facts
seealso:
  - module: sglang.fleet.gpu_facts
"""

EXAMPLES = r"""
- name: Gather the facts of the GPUs
  sglang.fleet.gpu_facts:

- name: Plan two servers of four GPUs each
  sglang.fleet.launch_plan:
    model: M2.7
    layout: 2x4

# Without an inventory: ansible localhost -m sglang.fleet.launch_plan -a "model=M2.7 gpu=H200:8"
- name: Plan for eight H200 without a host
  sglang.fleet.launch_plan:
    model: M2.7
    gpu: H200:8
"""

RETURN = r"""
commands:
  description: The server's command of each instance, as a person would type it.
  returned: success
  type: list
  elements: str
ansible_facts:
  description: Facts to add to the host.
  returned: success
  type: dict
  contains:
    fleet_plan:
      description: The plan. No secret is in it.
      type: dict
      contains:
        model:
          description: Name of the model.
          type: str
          sample: MiniMax-M2.7
        model_path:
          description: Its Hugging Face repository.
          type: str
          sample: MiniMaxAI/MiniMax-M2.7
        model_class:
          description: SGLang's class of the model; none where the catalogue does not say.
          type: str
          sample: MiniMaxM2ForCausalLM
        gpu:
          description: Name of the GPUs.
          type: str
          sample: H200
        count:
          description: How many there are.
          type: int
        vendor:
          description: Whose they are.
          type: str
          sample: nvidia
        memory_mib:
          description: Memory of one of them in MiB.
          type: int
        image:
          description: The C(name), C(reference), C(sglang_version), C(source_root) and C(user_space) of the image.
          type: dict
        patches:
          description: >-
            Changes to make in the image, with C(name), C(file), C(action), what the action needs, C(why) and C(source).
          type: list
          elements: dict
        profile:
          description: The container profile.
          type: str
          sample: hardened
        layout:
          description: Instances and GPUs of each.
          type: str
          sample: 1x8
        instances:
          description: The servers.
          type: list
          elements: dict
          contains:
            name:
              description: Name of the instance.
              type: str
              sample: "0"
            gpus:
              description: Indexes of its GPUs.
              type: list
              elements: int
            address:
              description: Address that it binds.
              type: str
            port:
              description: Port that it binds.
              type: int
            tp:
              description: Tensor parallel size.
              type: int
            ep:
              description: Expert parallel size.
              type: int
            args:
              description: The server's arguments as words of a command line.
              type: list
              elements: str
            server_args:
              description: The same by SGLang's long option names without dashes, in order. V(true) is a bare flag.
              type: dict
            environment:
              description: Environment variables of the container.
              type: dict
            container_options:
              description: Options of C(docker run), one word each.
              type: list
              elements: str
            command_line:
              description: The command as a person would type it.
              type: str
            fit:
              description:
                - The memory of each of its GPUs in GiB, C(memory_gib_per_gpu), and what it goes to, C(reserved_gib_per_gpu) for
                  driver and runtime, C(weights_gib_per_gpu), C(kv_gib_per_gpu), C(headroom_gib_per_gpu).
                - What the KV cache of the instance holds in tokens, C(kv_tokens), the longest request, C(max_context), and how
                  many of the longest run at the same time, C(full_length_sequences).
              type: dict
        idle_gpus:
          description: Indexes of the GPUs that no instance has.
          type: list
          elements: int
        warnings:
          description:
            - What the operator should know before the plan is carried out, with C(id), C(severity) (V(note), V(warn), V(change)
              or V(override)), C(message) and C(url).
          type: list
          elements: dict
        reasons:
          description: Why the plan is as it is, a sentence for each choice.
          type: list
          elements: str
        lock:
          description: What the lock says of the plan; null without a lock.
          type: dict
          contains:
            sha256: {description: "SHA-256 of what the lock says, however its file is laid out.", type: str}
            image:
              description:
                - The image's C(reference), its C(digest) in the registry, the C(bytes) of its compressed layers, and C(ids), the
                  IDs that an engine may give it on a host of this architecture.
              type: dict
            weights:
              description:
                - The C(repository), its C(revision), C(bytes) in all, and C(files), each with C(path), C(size) and C(sha256).
                - Null where the servers have the weights themselves.
              type: dict
"""
