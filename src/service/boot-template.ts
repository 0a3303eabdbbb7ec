import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Fault } from "../core/fault.ts";

/** What a machine boots that the operator may write a template for. */
export type TemplateKind = "ramdisk" | "disk";
export type TemplateFormat = "ipxe" | "grub" | "pxelinux";
export type TemplateName = `${TemplateKind}.${TemplateFormat}`;

/** A name in double braces, with what stands in its place; a list becomes words with spaces between. */
const PLACEHOLDERS = {
  kernel: { kinds: ["ramdisk"], sentence: "the ramdisk's kernel, as this loader names files" },
  initrd: { kinds: ["ramdisk"], sentence: "the ramdisk's initrd, likewise" },
  arguments: { kinds: ["ramdisk"], sentence: "the whole kernel command line that ironrack would give" },
  mac: { kinds: ["ramdisk", "disk"], sentence: "the MAC address of the NIC that boots" },
  node: { kinds: ["ramdisk", "disk"], sentence: "the node's UUID; empty for a machine that is not enrolled" },
  name: { kinds: ["ramdisk", "disk"], sentence: "the node's name, else its UUID, else the MAC address" },
  reason: { kinds: ["ramdisk", "disk"], sentence: "why the machine boots this" },
  server: { kinds: ["ramdisk", "disk"], sentence: "the appliance's address" },
  http: { kinds: ["ramdisk", "disk"], sentence: "root of boot HTTP, without a slash at the end" },
  api: { kinds: ["ramdisk", "disk"], sentence: "root of the REST API, without a slash at the end" },
} as const satisfies Record<string, { readonly kinds: readonly TemplateKind[]; readonly sentence: string }>;

export type Placeholder = keyof typeof PLACEHOLDERS;
export type TemplateValues = Readonly<Partial<Record<Placeholder, string>>>;

/** Text and placeholders in turn. */
export type BootTemplate = readonly (string | { readonly placeholder: Placeholder })[];
export type BootTemplates = ReadonlyMap<TemplateName, BootTemplate>;

export const noTemplates: BootTemplates = new Map();

export interface TemplateProblem {
  readonly at: { readonly file: string; readonly line: number; readonly column: number };
  readonly message: string;
}

const NAMES: readonly TemplateName[] = [
  "ramdisk.ipxe",
  "ramdisk.grub",
  "ramdisk.pxelinux",
  "disk.ipxe",
  "disk.grub",
  "disk.pxelinux",
];
/** What looks like a template and is none would be a mistake that nobody sees. */
const LIKE_A_TEMPLATE = /\.(ipxe|grub|pxelinux)$/;
const LARGEST = 65_536;

export function renderTemplate(template: BootTemplate, values: TemplateValues): string {
  return template.map((part) => (typeof part === "string" ? part : (values[part.placeholder] ?? ""))).join("");
}

/** The operator's templates; none where the directory is absent. @throws Fault invalid with a line for each problem */
export function loadBootTemplates(directory: string): BootTemplates {
  const { templates, problems } = readBootTemplates(directory);
  if (problems.length > 0) throw new Fault("invalid", "boot.template", problems.map(templateProblemLine).join("\n"));
  return templates;
}

/** `FILE:LINE:COLUMN: what is wrong` */
export function templateProblemLine({ at, message }: TemplateProblem): string {
  return `${at.file}:${at.line}:${at.column}: ${message}`;
}

export function readBootTemplates(directory: string): {
  readonly templates: BootTemplates;
  readonly problems: readonly TemplateProblem[];
} {
  const templates = new Map<TemplateName, BootTemplate>();
  const problems: TemplateProblem[] = [];
  const problem = (file: string, message: string, line = 1, column = 1): void =>
    void problems.push({ at: { file, line, column }, message });
  for (const name of listed(directory, problem)) {
    const path = join(directory, name);
    const known = NAMES.find((one) => one === name);
    if (known === undefined) {
      problem(path, `is no template's name; these are: ${NAMES.join(", ")}`);
      continue;
    }
    try {
      templates.set(
        known,
        parseTemplate(known, readFileSync(path, "utf8"), (...what) => problem(path, ...what)),
      );
    } catch (error) {
      problem(path, `cannot be read: ${(error as NodeJS.ErrnoException).code ?? (error as Error).message}`);
    }
  }
  return { templates, problems };
}

function listed(directory: string, problem: (file: string, message: string) => void): readonly string[] {
  try {
    return readdirSync(directory)
      .filter((name) => LIKE_A_TEMPLATE.test(name))
      .sort();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== "ENOENT") problem(directory, `cannot be read: ${String(code)}`);
    return [];
  }
}

function parseTemplate(
  name: TemplateName,
  text: string,
  problem: (message: string, line?: number, column?: number) => void,
): BootTemplate {
  const kind: TemplateKind = name.startsWith("ramdisk.") ? "ramdisk" : "disk";
  if (text.length > LARGEST) problem(`is larger than ${LARGEST} bytes`);
  if (name.endsWith(".ipxe") && !/^#!ipxe\s/.test(text)) problem('must begin with the line "#!ipxe"');
  const parts: (string | { readonly placeholder: Placeholder })[] = [];
  let end = 0;
  for (const found of text.matchAll(/\{\{([^{}\n]*)(\}\})?/g)) {
    const [whole, inside = "", closed] = found;
    const before = text.slice(0, found.index);
    const line = before.split("\n").length;
    const column = found.index - before.lastIndexOf("\n");
    const word = inside.trim();
    parts.push(text.slice(end, found.index));
    end = found.index + whole.length;
    if (closed === undefined) problem("{{ has no }} on its line", line, column);
    else if (!isPlaceholder(word)) problem(`{{${word}}} is unknown; there are ${namesFor(kind)}`, line, column);
    else if (!allowed(word).includes(kind)) {
      problem(`{{${word}}} means nothing in a ${kind} template; there are ${namesFor(kind)}`, line, column);
    } else parts.push({ placeholder: word });
  }
  parts.push(text.slice(end));
  return parts;
}

function isPlaceholder(word: string): word is Placeholder {
  return Object.hasOwn(PLACEHOLDERS, word);
}

function allowed(word: Placeholder): readonly TemplateKind[] {
  return PLACEHOLDERS[word].kinds;
}

function namesFor(kind: TemplateKind): string {
  return Object.keys(PLACEHOLDERS)
    .filter((word) => isPlaceholder(word) && allowed(word).includes(kind))
    .join(", ");
}
