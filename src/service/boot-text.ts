import type { MacAddress } from "../core/brand.ts";
import type { BootPlan, BootServices } from "../domain/boot-plan.ts";
import type { BootScript } from "../domain/boot-script.ts";
import { grubWord } from "../protocol/grub/config.ts";
import { ipxeText } from "../protocol/ipxe/script.ts";
import { pxelinuxFile, pxelinuxText } from "../protocol/pxelinux/config.ts";
import type { KnownMachine } from "./boot-lookup.ts";
import { bootScriptText } from "./boot-script.ts";
import { type BootTemplates, renderTemplate, type TemplateFormat, type TemplateKind } from "../domain/boot-template.ts";
import { grubFile, grubScriptText } from "./grub-script.ts";
import { pxelinuxScriptText } from "./pxelinux-script.ts";
import { tftpName } from "./tftp-name.ts";

/** A machine with what it is to do. */
export interface PlannedMachine {
  readonly mac: MacAddress;
  readonly known: KnownMachine;
  readonly plan: BootPlan;
  readonly services: BootServices;
}

/** How each loader writes what the plan says, and what it needs where the operator's template says it. */
const FORMATS: Readonly<
  Record<
    TemplateFormat,
    {
      readonly script: (script: BootScript, note: string, services: BootServices) => string;
      readonly word: (text: string) => string;
      readonly file: (url: string, services: BootServices) => string;
    }
  >
> = {
  ipxe: { script: bootScriptText, word: ipxeText, file: ipxeText },
  grub: {
    script: grubScriptText,
    word: grubWord,
    file: (url, services) => grubWord(grubFile(url, services)),
  },
  pxelinux: {
    script: pxelinuxScriptText,
    word: pxelinuxText,
    file: (url, services) => pxelinuxFile(tftpName(url, services) ?? url),
  },
};

/** What the loader of this format is given for the machine: by the operator's template where there is one. */
export function bootText(format: TemplateFormat, machine: PlannedMachine, templates: BootTemplates): string {
  const { mac, known, plan, services } = machine;
  const { script, word, file } = FORMATS[format];
  const name = known.node?.name ?? known.node?.uuid ?? mac;
  const kind = templateKind(plan);
  const template = kind === undefined ? undefined : templates.get(`${kind}.${format}`);
  if (template === undefined) return script(plan.script, `${name}: ${plan.reason}`, services);
  const linux = plan.script.kind === "linux" ? plan.script : undefined;
  return renderTemplate(template, {
    ...(linux === undefined ? {} : { kernel: file(linux.kernel, services) }),
    ...(linux?.initrd == null ? {} : { initrd: file(linux.initrd, services) }),
    ...(linux === undefined ? {} : { arguments: linux.arguments.map(word).join(" ") }),
    mac,
    node: known.node?.uuid ?? "",
    name: word(name),
    reason: word(plan.reason),
    server: services.address,
    http: services.http,
    api: services.apiUrl,
  });
}

function templateKind({ target, script }: BootPlan): TemplateKind | undefined {
  if (target === "ramdisk") return "ramdisk";
  return script.kind === "local-disk" ? "disk" : undefined;
}
