// SPDX-FileCopyrightText: the SGLang Fleet authors
// SPDX-License-Identifier: GPL-3.0-or-later

// Shows what window.PLANS (plans.js, made by the planner) says to a choice. Nothing is planned here: whether a choice is
// possible, and why not, is looked up like the rest.
"use strict";

(() => {
  const table = window.PLANS;
  const $ = (id) => document.getElementById(id);
  if (!table) {
    $("status").textContent = "plans.js is missing beside this page: python -m sglang_fleet.page makes it.";
    return;
  }

  // --- The table ----------------------------------------------------------------------------------------------------

  // A choice is an object with a string for each level. The earlier levels bind the later ones: a change of hardware can
  // change the layout, never the other way round.
  const LEVELS = ["gpu", "count", "model", "layout", "thinking", "tools", "profile"];
  const TITLES = {
    gpu: "Hardware", count: "GPUs in the node", model: "Model", layout: "Layout (servers x GPUs of each)",
    thinking: "Thinking", tools: "Tool calls", profile: "Container profile",
  };
  const NAMES = {
    gpu: "hardware", count: "GPU count", model: "model", layout: "layout", thinking: "thinking", tools: "tool calls",
    profile: "profile",
  };
  const ON_OFF = ["on", "off"];
  const gpuNames = table.gpus.map((gpu) => gpu.name);
  const counts = table.counts.map(String);
  const modelNames = table.models.map((model) => model.name);
  const profileNames = table.profiles.map((profile) => profile.name);
  const VENDORS = { amd: "AMD", nvidia: "NVIDIA" };

  // The values that a level offers under the levels before it.
  function offered(level, choice) {
    switch (level) {
      case "gpu": return gpuNames;
      case "count": return counts;
      case "model": return modelNames;
      case "layout": return table.layouts[gpuNames.indexOf(choice.gpu)][counts.indexOf(choice.count)];
      case "profile": return profileNames;
      default: return ON_OFF;
    }
  }

  // The number of the answer's node; src/sglang_fleet/page.py says what a node is and how answers are ordered.
  function find(choice) {
    const option = (ON_OFF.indexOf(choice.thinking) * ON_OFF.length + ON_OFF.indexOf(choice.tools)) * profileNames.length;
    return table.answers[gpuNames.indexOf(choice.gpu)][counts.indexOf(choice.count)][modelNames.indexOf(choice.model)]
      [offered("layout", choice).indexOf(choice.layout)][option + profileNames.indexOf(choice.profile)];
  }

  function read(number) {
    const node = table.nodes[number];
    if (!Array.isArray(node)) return node;
    const values = node.slice(1).map(read);
    if (node[0] === 0) return values.join("\n");
    if (node[0] === 1) return values;
    return Object.fromEntries(table.shapes[node[0] - 2].map((key, index) => [key, values[index]]));
  }

  const isPlan = (number) => !table.shapes[table.nodes[number][0] - 2].includes("refusal");

  // Whether any plan has the choice's values at the first so many levels.
  const known = new Map();
  function possible(depth, choice) {
    if (depth === LEVELS.length) return isPlan(find(choice));
    const key = LEVELS.slice(0, depth).map((level) => choice[level]).join(" ");
    if (!known.has(key)) {
      const level = LEVELS[depth];
      known.set(key, offered(level, choice).some((value) => possible(depth + 1, { ...choice, [level]: value })));
    }
    return known.get(key);
  }

  // Why a value cannot be had under the levels before it, in the planner's words; an empty string when it can.
  // Where nothing is possible there anyway, the fault is not this value's.
  function whyNot(level, value, choice) {
    const depth = LEVELS.indexOf(level);
    const other = { ...choice, [level]: value };
    if (!possible(depth, choice) || possible(depth + 1, other)) return "";
    if (depth < LEVELS.indexOf("layout")) other.layout = "auto";
    return read(find(other)).refusal;
  }

  // --- The choice ---------------------------------------------------------------------------------------------------

  const onOff = (truth) => (truth ? "on" : "off");

  function startingChoice(model = table.start.model) {
    const entry = table.models[modelNames.indexOf(model)];
    return {
      ...table.start, count: String(table.start.count), model, thinking: onOff(entry.thinking), tools: onOff(entry.tool_calls),
    };
  }

  // The nearest possible value: the start's own, for counts the next larger one, else the first.
  function instead(level, choice) {
    const values = offered(level, choice).filter((value) => whyNot(level, value, choice) === "");
    if (level === "count") return values.find((value) => Number(value) >= Number(choice.count)) || values[values.length - 1];
    return values.includes(table.start[level]) ? table.start[level] : values[0];
  }

  // Bring the levels after the changed one to possible values; gives what has to be said about it.
  function settle(choice, changed) {
    const said = [];
    for (let depth = LEVELS.indexOf(changed) + 1; depth < LEVELS.length; depth += 1) {
      const level = LEVELS[depth];
      const was = choice[level];
      const there = offered(level, choice).includes(was);
      const why = there ? whyNot(level, was, choice) : `${choice.count} × ${choice.gpu} does not offer it.`;
      if (why !== "") {
        choice[level] = instead(level, choice) || offered(level, choice)[0];
        said.push(`The ${NAMES[level]} ${was} is not possible here, so it is ${choice[level]} now. ${sentence(why)}`);
      }
    }
    return said;
  }

  const toHash = (choice) => `#${new URLSearchParams(LEVELS.map((level) => [level, choice[level]]))}`;

  // The choice of a link. What it lacks is as at the start; what is not offered is said.
  function fromHash(hash) {
    const asked = new URLSearchParams(hash.replace(/^#/, ""));
    const choice = startingChoice(modelNames.includes(asked.get("model")) ? asked.get("model") : undefined);
    const said = [];
    for (const level of LEVELS) {
      const value = asked.get(level);
      if (value !== null && offered(level, choice).includes(value)) choice[level] = value;
      else if (value !== null) {
        said.push(`The link asks for the ${NAMES[level]} ${value}, which is not offered here: it is ${choice[level]}.`);
      }
      asked.delete(level);
    }
    // "result" is where the skip link goes.
    for (const [name] of asked) if (name !== "result") said.push(`The link's ${name} means nothing here.`);
    return [choice, said];
  }

  // --- Showing ------------------------------------------------------------------------------------------------------

  function element(tag, attributes = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (value === true) made.setAttribute(name, "");
      else if (value !== false && value !== null) made.setAttribute(name, value);
    }
    made.append(...children);
    return made;
  }

  const sentence = (text) => (/[.!?]$/.test(text) ? text : `${text}.`);
  const whole = (number) => String(number).replace(/\B(?=(\d{3})+$)/g, ",");
  const list = (numbers) => numbers.join(", ");
  const plural = (number, word) => `${number} ${word}${number === 1 ? "" : "s"}`;
  const gib = (number) => `${number.toFixed(1)} GiB`;
  const figure = (number, text) => element("data", { value: String(number) }, text);

  function entries(target, rows) {
    target.replaceChildren(...rows.map(([name, ...values]) =>
      element("div", {}, element("dt", {}, ...[name].flat()), ...values.map((value) => element("dd", {}, ...[value].flat())))));
  }

  const controls = new Map(); // level → { fieldset, inputs: Map of value → input, … }

  function makeControl(level, values) {
    const fieldset = element("fieldset", { id: `choose-${level}` }, element("legend", {}, TITLES[level]));
    const inputs = new Map();
    const groups = new Map();
    for (const value of values) {
      const kind = level === "gpu" ? VENDORS[table.gpus[gpuNames.indexOf(value)].vendor] : "";
      if (!groups.has(kind)) {
        groups.set(kind, element("div", { class: "options" }, ...(kind ? [element("div", { class: "kind" }, kind)] : [])));
        fieldset.append(groups.get(kind));
      }
      const input = element("input", { type: "radio", name: level, value });
      groups.get(kind).append(element("label", { class: "choice" }, input, element("span", {}, value)));
      inputs.set(value, input);
    }
    const why = element("p", { class: "why", hidden: true });
    const reasons = element("ul");
    const summary = element("summary");
    const details = element("details", {}, summary, reasons);
    fieldset.append(why, details);
    return { fieldset, inputs, why, reasons, summary, details, values: values.join() };
  }

  function showControls(choice) {
    for (const level of LEVELS) {
      const values = offered(level, choice);
      let control = controls.get(level);
      if (!control || control.values !== values.join()) {
        const made = makeControl(level, values);
        if (control) control.fieldset.replaceWith(made.fieldset);
        else $("choices").append(made.fieldset);
        control = made;
        controls.set(level, made);
      }
      showPossible(level, control, choice);
    }
  }

  function showPossible(level, control, choice) {
    const items = [];
    for (const [value, input] of control.inputs) {
      const why = whyNot(level, value, choice);
      input.checked = choice[level] === value;
      input.parentElement.classList.toggle("not", why !== "");
      if (why === "") {
        input.removeAttribute("aria-disabled");
        input.removeAttribute("aria-describedby");
      } else {
        const id = `why-${level}-${value}`;
        input.setAttribute("aria-disabled", "true");
        input.setAttribute("aria-describedby", id);
        items.push(element("li", {}, element("b", {}, value), ": ", element("span", { id }, why)));
      }
    }
    control.why.hidden = true;
    control.details.hidden = items.length === 0;
    control.summary.textContent = items.length === 1 ? "One is not possible: why" : `${items.length} are not possible: why`;
    control.reasons.replaceChildren(...items);
  }

  const SEVERITIES = { warn: "Warning", change: "Change", override: "Override", note: "Note" };

  const isNote = (warning) => warning.severity === "note";

  function showWarnings(warnings) {
    $("warnings").hidden = warnings.length === 0;
    $("warnings-title").textContent = warnings.every(isNote) ? "Notes" : "Warnings";
    const sorted = [...warnings.filter((warning) => !isNote(warning)), ...warnings.filter(isNote)];
    $("warnings").querySelector("ul").replaceChildren(...sorted.map((warning) => {
      const item = element("li", { "data-id": warning.id, "data-severity": warning.severity },
        element("span", { class: "severity" }, SEVERITIES[warning.severity] || warning.severity),
        element("span", { class: "message" }, warning.message));
      if (warning.url) {
        item.append(" ", element("a", { href: warning.url, rel: "noreferrer" }, warning.url.replace(/^https:\/\//, "")));
      }
      item.append(" ", element("span", { class: "id" }, `(${warning.id})`));
      return item;
    }));
  }

  function block(title, id, text, of) {
    return [
      element("div", { class: "bar-title" },
        element("h4", { id: `${id}-title` }, title),
        element("button", { type: "button", class: "copy", "data-of": id }, "Copy",
          element("span", { class: "unseen" }, ` ${title}${of}`))),
      element("pre", { tabindex: "0", role: "group", "aria-labelledby": `${id}-title` }, element("code", { id }, text)),
    ];
  }

  let tab = 0;

  function showInstances(instances) {
    const several = instances.length > 1;
    if (tab >= instances.length) tab = 0;
    $("tabs").hidden = !several;
    $("tabs").replaceChildren(...(several ? instances.map((instance, index) => element("button", {
      type: "button", role: "tab", id: `tab-${index}`, "aria-controls": `server-${index}`,
      "aria-selected": String(index === tab), tabindex: index === tab ? "0" : "-1",
    }, `Server ${instance.name}`)) : []));
    $("instances").replaceChildren(...instances.map((instance, index) => {
      const of = several ? ` of server ${instance.name}` : "";
      const gpus = instance.gpus.length === 1 ? `GPU ${instance.gpus[0]}` : `GPUs ${list(instance.gpus)}`;
      return element("div", {
        class: "instance", id: `server-${index}`, role: several ? "tabpanel" : null,
        "aria-labelledby": several ? `tab-${index}` : null, hidden: several && index !== tab,
      },
      element("p", { class: "where" },
        `Server ${instance.name}: ${gpus}, ${instance.address}:${instance.port}, tp ${instance.tp}, ep ${instance.ep}`),
      ...block("Command in the container", `command-${index}`, instance.command, of),
      ...block("docker run", `docker-${index}`, instance.docker, of));
    }));
  }

  function chooseTab(index) {
    tab = index;
    [...$("tabs").children].forEach((button, number) => {
      button.setAttribute("aria-selected", String(number === index));
      button.tabIndex = number === index ? 0 : -1;
      $(`server-${number}`).hidden = number !== index;
    });
    $("tabs").children[index].focus();
  }

  const SHARES = [
    ["weights", "Weights", "weights_gib_per_gpu"], ["kv", "KV cache", "kv_gib_per_gpu"],
    ["headroom", "Head-room", "headroom_gib_per_gpu"], ["reserved", "Reserved", "reserved_gib_per_gpu"],
  ];

  function showMemory(fit) {
    const memory = fit.memory_gib_per_gpu;
    $("memory").setAttribute("aria-label",
      `Of ${gib(memory)}: ${SHARES.map(([, name, key]) => `${name} ${gib(fit[key])}`).join(", ")}`);
    $("memory").replaceChildren(...SHARES.map(([kind, , key]) => {
      const part = element("i", { class: kind });
      part.style.flexBasis = `${(100 * fit[key]) / memory}%`;
      return part;
    }));
    entries($("shares"), [
      ...SHARES.map(([kind, name, key]) => [[element("i", { class: `swatch ${kind}` }), name], figure(fit[key], gib(fit[key]))]),
      ["In all", figure(memory, gib(memory))],
    ]);
    entries($("capacity"), [
      ["KV cache of a server holds", figure(fit.kv_tokens, `${whole(fit.kv_tokens)} tokens`)],
      ["Longest context", figure(fit.max_context, `${whole(fit.max_context)} tokens`)],
      ["Requests of full length at once", figure(fit.full_length_sequences, String(fit.full_length_sequences))],
    ]);
  }

  function showImage(image, patches) {
    entries($("image"), [
      ["Reference", element("code", {}, image.reference)],
      ["SGLang", `${image.sglang_version} (${image.user_space})`],
      ["Patches", ...(patches.length === 0 ? ["none"] : patches.map((patch) =>
        [element("b", { "data-patch": patch.name }, patch.name), ` (${patch.action.replace(/_/g, " ")} in ${patch.file})`]))],
    ]);
  }

  function showPlan(plan) {
    showWarnings(plan.warnings);
    showInstances(plan.instances);
    $("inventory").textContent = plan.inventory;
    showMemory(plan.node.fit);
    showImage(plan.node.image, plan.node.patches);
    $("reasons").replaceChildren(...plan.node.reasons.map((reason) => element("li", {}, reason)));
  }

  // The first level whose value nothing is possible with, and what is possible there.
  function showRefusal(refusal, choice) {
    $("reason").textContent = refusal;
    const level = LEVELS.find((name) => whyNot(name, choice[name], choice) !== "");
    const values = offered(level, choice).filter((value) => whyNot(level, value, choice) === "");
    $("instead").replaceChildren(`Possible here (${NAMES[level]}):`, ...values.map((value) =>
      element("button", { type: "button", "data-level": level, "data-value": value }, value)));
  }

  function describe(choice, answer) {
    if (answer.refusal) return "Not possible as chosen.";
    const { instances, node: { idle_gpus: idle, layout } } = answer;
    const each = instances[0].gpus.length;
    const parts = [`Layout ${layout}: ${plural(instances.length, "server")} of ${plural(each, "GPU")}`];
    parts.push(`tp ${instances[0].tp}, ep ${instances[0].ep}`);
    parts.push(idle.length === 0 ? "no GPU idle" : `idle: ${idle.length === 1 ? "GPU" : "GPUs"} ${list(idle)}`);
    for (const [severity, word] of Object.entries(SEVERITIES)) {
      const number = answer.warnings.filter((warning) => warning.severity === severity).length;
      if (number > 0) parts.push(plural(number, word.toLowerCase()));
    }
    return `${parts.join("; ")}.`;
  }

  let current = null;

  function show(choice, said = []) {
    current = choice;
    const answer = read(find(choice));
    const gpu = table.gpus[gpuNames.indexOf(choice.gpu)];
    showControls(choice);
    $("headline").textContent = `${choice.model} on ${choice.count} × ${gpu.title}`;
    $("status").textContent = describe(choice, answer);
    $("said").hidden = said.length === 0;
    $("said").replaceChildren(...said.map((text) => element("p", {}, text)));
    $("announce").textContent = [...said, $("status").textContent, answer.refusal || ""].join(" ").trim();
    $("refusal").hidden = !answer.refusal;
    $("plan").hidden = Boolean(answer.refusal);
    if (answer.refusal) showRefusal(answer.refusal, choice);
    else showPlan(answer);
  }

  // --- Acting -------------------------------------------------------------------------------------------------------

  function choose(level, value) {
    const next = { ...current, [level]: value };
    const said = settle(next, level);
    show(next, said);
    if (window.location.hash !== toHash(next)) window.location.hash = toHash(next);
  }

  function sayWhyNot(input) {
    const { why } = controls.get(input.name);
    for (const control of controls.values()) control.why.hidden = true;
    why.textContent = `${input.value} is not possible: ${$(input.getAttribute("aria-describedby")).textContent}`;
    why.hidden = false;
    return why.textContent;
  }

  const greyed = (input) => input.getAttribute("aria-disabled") === "true";

  $("choices").addEventListener("submit", (event) => event.preventDefault());
  $("choices").addEventListener("click", (event) => {
    if (!event.target.matches("input") || !greyed(event.target)) return;
    event.preventDefault(); // what was chosen stays chosen
    $("announce").textContent = sayWhyNot(event.target);
  });
  $("choices").addEventListener("change", (event) => choose(event.target.name, event.target.value));
  $("choices").addEventListener("focusin", (event) => {
    if (!event.target.matches("input")) return;
    for (const control of controls.values()) control.why.hidden = true;
    if (greyed(event.target)) sayWhyNot(event.target);
  });
  // Arrow keys walk over greyed choices too, so that their reasons can be read, and choose the others.
  $("choices").addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step || !event.target.matches("input") || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    const level = event.target.name;
    const inputs = [...controls.get(level).inputs.values()];
    const next = inputs[(inputs.indexOf(event.target) + step + inputs.length) % inputs.length];
    next.focus();
    if (!greyed(next)) choose(level, next.value);
  });

  $("instead").addEventListener("click", (event) => {
    const { level, value } = event.target.dataset;
    if (!level) return;
    choose(level, value);
    controls.get(level).inputs.get(value).focus(); // the button is gone
  });

  $("tabs").addEventListener("click", (event) => {
    const index = [...$("tabs").children].indexOf(event.target);
    if (index >= 0) chooseTab(index);
  });
  $("tabs").addEventListener("keydown", (event) => {
    const last = $("tabs").children.length - 1;
    const next = {
      ArrowRight: tab === last ? 0 : tab + 1, ArrowLeft: tab === 0 ? last : tab - 1, Home: 0, End: last,
    }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    chooseTab(next);
  });

  // The clipboard's interface is missing or closed in some browsers where a page comes from the disk.
  async function copyText(text) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      const area = element("textarea", { class: "unseen", "aria-hidden": "true" });
      area.value = text;
      document.body.append(area);
      area.select();
      const done = document.execCommand("copy");
      area.remove();
      return done;
    }
  }

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button.copy");
    if (!button) return;
    const code = $(button.dataset.of);
    const done = await copyText(code.textContent);
    if (!done) window.getSelection().selectAllChildren(code);
    button.focus();
    const label = button.firstChild;
    label.data = done ? "Copied" : "Press Ctrl+C";
    $("announce").textContent = done ? "Copied." : "The browser does not let the page copy: the text is selected, press Ctrl+C.";
    window.setTimeout(() => { label.data = "Copy"; }, 2500);
  });

  $("skip").addEventListener("click", (event) => {
    event.preventDefault(); // the fragment holds the choice
    $("result").focus();
  });

  window.addEventListener("hashchange", () => {
    if (window.location.hash !== toHash(current)) show(...fromHash(window.location.hash));
  });

  show(...fromHash(window.location.hash));
  window.planner = { show, offered }; // for the tests, which show every choice
})();
