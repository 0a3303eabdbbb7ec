import { optionRows } from "./dhcp-options.ts";
import { absent, type Field } from "./field.ts";
import { configTable } from "./table.ts";

const WIDTH = 116;

const INTRODUCTION = `# Configuration

\`ironrackd\` reads \`/etc/ironrack/appliance.conf\` (TOML) and then, in the order of their names, the files \`conf.d/*.conf\` beside it.
A later file replaces single keys; \`[[dhcp.reservations]]\` adds up. \`[boot] interface\` and \`address\` must be given; every other key
has a default or may be left out. The shipped file names every key.

\`ironrackd --check-config\` or \`ironrack config check FILE\` tells every problem at once, as \`FILE:LINE:COLUMN: section.key: what is wrong\`,
with the key that was probably meant. With a problem the daemon does not start.

A key that ends in \`password_file\` names a file that others cannot read, or, without a slash, a systemd credential
(\`LoadCredential=NAME:PATH\` in a drop-in of the unit). The credential \`store-key\`, if there is one, is the key that encrypts secrets in
the store (64 hexadecimal digits); without it the key is made at the first start as \`store.key\` in \`state_dir\`. Keep a copy of it:
without it the BMCs' passwords in the store cannot be read.

This file is generated from \`src/config/table.ts\` (\`npm run docs\`).
`;

/** The text of the appliance.conf that is shipped: every key with its meaning, defaults commented out. */
export function renderFile(): string {
  const lines = comment(
    "Configuration of ironrackd (TOML). Every key is here; what is commented out shows the default, or an example where " +
      "there is none. Files conf.d/*.conf beside this one are read after it and replace single keys. " +
      "`ironrackd --check-config FILE` says what is wrong, with line and column. A change takes effect at a restart.",
  );
  for (const [name, { sentence, fields }] of Object.entries(configTable)) {
    lines.push("", ...comment(sentence), `[${name}]`);
    for (const [key, field] of Object.entries<Field<unknown>>(fields)) lines.push("", ...renderField(name, key, field));
  }
  return `${lines.join("\n")}\n`;
}

function renderField(section: string, key: string, field: Field<unknown>): readonly string[] {
  const lines = comment(`${field.sentence} (${facts(field)})`);
  if (key === "reservations") {
    const address = section === "dhcp6" ? "fd00:20::10" : "10.20.0.10";
    return [...lines, `#[[${section}.reservations]]`, '#mac = "52:54:00:12:34:56"', `#address = "${address}"`];
  }
  // Its header would swallow the keys behind it, so it is the section's last.
  if (section === "dhcp" && key === "options") return [...lines, "#[dhcp.options]", `#${field.example}`];
  const value = typeof field.written === "string" ? field.written : field.example;
  return [...lines, `${field.written === null ? "" : "#"}${key} = ${value}`];
}

function facts(field: Field<unknown>): string {
  const parts = [field.type];
  if (field.unit !== null) parts.push(field.unit);
  if (field.range !== null) parts.push(field.range);
  if (field.written === null) parts.push("must be given");
  else if (field.written === absent) parts.push("no default");
  return parts.join("; ");
}

function comment(text: string): string[] {
  const lines: string[] = [];
  let line = "#";
  for (const word of text.split(" ")) {
    if (line.length + 1 + word.length > WIDTH) {
      lines.push(line);
      line = "#";
    }
    line += ` ${word}`;
  }
  return [...lines, line];
}

/** docs/configuration.md: how the file is read, and all keys as tables, a section each. */
export function renderMarkdown(): string {
  const parts: string[] = [INTRODUCTION];
  for (const [name, { sentence, fields }] of Object.entries(configTable)) {
    parts.push(
      `### [${name}]`,
      "",
      sentence,
      "",
      "| key | type | unit | default | range | meaning | restart |",
      "|---|---|---|---|---|---|---|",
    );
    for (const [key, field] of Object.entries<Field<unknown>>(fields)) {
      const written =
        typeof field.written === "string"
          ? `\`${field.written}\``
          : field.written === null
            ? "(must be given)"
            : "(none)";
      const cells = [
        `\`${key}\``,
        field.type,
        field.unit ?? "",
        written,
        field.range ?? "",
        field.sentence,
        field.restart ? "yes" : "no",
      ];
      parts.push(`| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`);
    }
    parts.push("");
  }
  return parts.join("\n");
}

const OPTIONS_INTRODUCTION = `# DHCP options

\`[dhcp.options]\` in appliance.conf holds for every machine, \`[dhcp.reservations.options]\` behind a \`[[dhcp.reservations]]\` for its machine
alone and goes before it. A machine gets the options that it asks for, or all of them when it asks for nothing by name; those over 255
bytes are split (RFC 3396), what does not fit moves into the fields \`file\` and \`sname\` (option 52), and what then has no room is named in
the log line of the answer (\`omitted\`).

\`\`\`toml
[dhcp]
pool_start = "10.20.0.100"
pool_end = "10.20.0.199"

[[dhcp.reservations]]
mac = "52:54:00:12:34:56"
address = "10.20.0.10"
hostname = "first"
[dhcp.reservations.options]
root_path = "iscsi:10.20.0.1::::iqn.2026-01.org.example:first"

[dhcp.options]
domain_search = ["rack.example.org", "example.org"]
classless_static_route = ["10.30.0.0/16 via 10.20.0.254"]
interface_mtu = 9000
224 = { u16 = 5 }
\`\`\`

An option without a name here is set by its number and a type: \`hex\` ("0a:0b"), \`text\`, \`ip\` (one address or a list), \`u8\`, \`u16\`, \`u32\`. The router,
name servers, domain and time servers have keys of their own in \`[dhcp]\`; mask, broadcast address and times follow from others; what
is booted follows from the node. \`ironrackd --check-config\` says so where it finds one of them.

| key | option | written as | source |
|---|---|---|---|
`;

/** docs/dhcp-options.md: every option that can be set by name. */
export function renderOptions(): string {
  const rows = optionRows().map(
    ({ key, code, written, source }) => `| \`${key}\` | ${code} | \`${written}\` | ${source} |`,
  );
  return `${OPTIONS_INTRODUCTION}${rows.join("\n")}\n`;
}
