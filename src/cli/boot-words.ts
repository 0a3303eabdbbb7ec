import { isJsonObject, type JsonObject, numberProperty, property, stringProperty } from "../core/json.ts";
import { sizeWords } from "./event-words.ts";
import { cell, oneLine } from "./table.ts";

/** One step of a machine's boot as a line: time, who, and what happened in words. */
export function bootStepLine(step: JsonObject): string {
  const time = (stringProperty(step, "time") ?? "").replace("T", " ").replace("Z", "");
  const fields = property(step, "fields");
  const words = bootStepWords(stringProperty(step, "event") ?? "", isJsonObject(fields) ? fields : {});
  return oneLine(`${time}  ${stringProperty(step, "machine") ?? "-"}  ${words}`);
}

/** What the daemon's line says, for people. */
export function bootStepWords(event: string, fields: JsonObject): string {
  const text = (key: string): string => cell(property(fields, key));
  const given = (key: string, words: (value: string) => string): string =>
    property(fields, key) === undefined ? "" : words(text(key));
  const because = given("reason", (reason) => `: ${reason}`);
  switch (event) {
    case "dhcp.answered":
      return [
        `dhcp ${text("type")} → ${text("answer")}`,
        given("address", (address) => ` of ${address}`),
        given("reason", (reason) => ` (${reason})`),
        given("firmware", (firmware) => ` to ${firmware}`),
        fields["answer"] === "nak" ? "" : `, ${bootWords(fields)}`,
      ].join("");
    case "dhcp.silent":
      return `dhcp ${text("type")}, no answer${because}`;
    case "dhcp.conflict":
      return `dhcp: uses ${text("address")} without a lease`;
    case "dhcp.returned":
      return `dhcp ${text("type")}${because}`;
    case "dhcp.failed":
      return `dhcp: the answer failed${because}`;
    case "tftp.done":
      return `tftp ${text("file")}: ${amount(fields)} (blocks of ${text("blksize")}, window ${text("windowsize")})`;
    case "tftp.declined":
      return `tftp ${text("file")}: asked for the size only, or refused the terms${because}`;
    case "tftp.refused":
      return `tftp ${text("file")}: refused, error ${text("code")}${because}${isOptional(text("file")) ? "; who asks goes on without it" : ""}`;
    case "tftp.failed":
      return `tftp ${text("file")}: broken off${because}`;
    case "http.served":
      return `http ${text("method")} ${text("path")}: ${text("status")}, ${amount(fields)}`;
    case "http.refused":
      return `http ${text("method")} ${text("path")}: ${text("status")}${because}`;
    case "agent.lookup":
      return `the ramdisk's agent asked who it is${because}`;
    case "agent.heartbeat":
      return `the ramdisk's agent reported for the first time${given("peer", (url) => `, it listens at ${url}`)}`;
    case "agent.refused":
      return `the ramdisk's agent was refused${because}`;
    case "node.power":
      return `power: ${text("state")}`;
    case "node.state":
      return `state: ${text("state")}${because}`;
    default:
      // A newer daemon may know more than this program.
      return `${event} ${JSON.stringify(fields)}`;
  }
}

/**
 * Files that loaders ask for in case somebody has put them there.
 * @source shim 16.1 (revocations, certificates), GRUB 2.06 (module lists), U-Boot 2023.01 config_distro_bootcmd.h, PXELINUX 6.04
 */
function isOptional(file: string): boolean {
  return /(?:^|\/)(?:revocations\w*\.efi|shim_certificate_\d+\.efi|[a-z0-9_-]+-efi\/[a-z]+\.lst|boot\.scr\.uimg|dtb\/.*|pxelinux\.cfg\/[0-9a-f]{8}-[0-9a-f-]{27})$/.test(
    file,
  );
}

/** What the answer says about booting; without a file, why. */
function bootWords(fields: JsonObject): string {
  const why = stringProperty(fields, "boot_reason");
  const boot = stringProperty(fields, "boot");
  if (boot === undefined) return "nothing about booting";
  return `${boot === "none" ? "no boot file" : `boot ${boot}`}${why === undefined ? "" : ` (${why})`}`;
}

function amount(fields: JsonObject): string {
  const took = numberProperty(fields, "elapsed_ms");
  const size = numberProperty(fields, "bytes");
  const words = [
    ...(size === undefined ? [] : [sizeWords(size)]),
    ...(took === undefined ? [] : [`in ${(took / 1000).toFixed(2)} s`]),
  ];
  return words.join(" ");
}
