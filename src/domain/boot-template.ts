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

export const templateNames: readonly TemplateName[] = [
  "ramdisk.ipxe",
  "ramdisk.grub",
  "ramdisk.pxelinux",
  "disk.ipxe",
  "disk.grub",
  "disk.pxelinux",
];
const LARGEST = 65_536;

export function renderTemplate(template: BootTemplate, values: TemplateValues): string {
  return template.map((part) => (typeof part === "string" ? part : (values[part.placeholder] ?? ""))).join("");
}

/** The template in this text; each mistake goes to `problem`. */
export function parseTemplate(
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
