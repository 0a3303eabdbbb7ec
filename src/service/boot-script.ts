import { assertNever } from "../core/fault.ts";
import type { BootScript } from "../domain/boot-script.ts";
import type { IscsiVolume } from "../domain/volume.ts";
import { type ChapSetting, type IpxeCommand, renderIpxeScript } from "../protocol/ipxe/script.ts";

/** The first hard disk, as the BIOS numbers it. */
const FIRST_DISK = 0x80;

/** The boot plan's script in iPXE's words; `note` becomes its first lines, for whoever looks at the screen. */
export function bootScriptText(script: BootScript, note: string): string {
  return renderIpxeScript([
    { kind: "comment", text: `ironrack: ${note}` },
    { kind: "echo", text: `ironrack: ${note}` },
    ...commands(script),
  ]);
}

function commands(script: BootScript): readonly IpxeCommand[] {
  switch (script.kind) {
    case "local-disk":
      return [
        { kind: "if-efi", go: "leave" },
        // Most BIOSes would come back here from a mere exit; the disk's own boot record is started instead.
        { kind: "sanboot-disk", drive: FIRST_DISK, orGo: "leave" },
        { kind: "label", name: "leave" },
        // Failure makes UEFI go on with the next entry of BootOrder; success would end in its menu.
        { kind: "exit", status: 1 },
      ];
    case "linux": {
      const { kernel, initrd } = script;
      // Under UEFI the kernel's own loader takes the initrd by this name; under BIOS the argument means nothing.
      const named = initrd === null ? [] : ["initrd=initrd"];
      return againAndAgain(`the ${script.of}`, [
        { kind: "kernel", url: kernel, arguments: [...named, ...script.arguments], orGo: "again" },
        ...(initrd === null ? [] : [{ kind: "initrd", url: initrd, name: "initrd", orGo: "again" } as const]),
        { kind: "boot", orGo: "again" },
      ]);
    }
    case "iso":
      return againAndAgain("the ISO", [{ kind: "sanboot", url: script.url, drive: FIRST_DISK, orGo: "again" }]);
    case "volumes":
      return volumeCommands(script);
    case "memory-test":
      return againAndAgain("memtest86+", [
        { kind: "if-efi", go: "efi" },
        { kind: "kernel", url: script.bios, arguments: script.arguments, orGo: "again" },
        { kind: "boot", orGo: "again" },
        { kind: "label", name: "efi" },
        { kind: "kernel", url: script.efi, arguments: script.arguments, orGo: "again" },
        { kind: "boot", orGo: "again" },
      ]);
    default:
      return assertNever(script);
  }
}

function volumeCommands(script: Extract<BootScript, { readonly kind: "volumes" }>): readonly IpxeCommand[] {
  const { initiator, boot, others } = script;
  const drives = others.map((volume, at) => ({ volume, drive: FIRST_DISK + 1 + at }));
  return [
    ...(initiator === null ? [] : [{ kind: "set", setting: "initiator-iqn", value: initiator } as const]),
    ...againAndAgain(
      "the volume",
      [
        ...drives.flatMap(({ volume, drive }) => [
          ...login(volume),
          { kind: "sanhook", url: iscsiUrl(volume), drive, orGo: "again" } as const,
        ]),
        // Last, so that its name and password are those that the system finds in the iBFT.
        ...login(boot),
        { kind: "sanboot-described", url: iscsiUrl(boot), drive: FIRST_DISK, orGo: "again" },
      ],
      drives.map(({ drive }) => ({ kind: "sanunhook", drive })),
    ),
  ];
}

function login({ chap }: IscsiVolume): readonly IpxeCommand[] {
  const told = (setting: ChapSetting, value: string | undefined): IpxeCommand =>
    value === undefined ? { kind: "clear", setting } : { kind: "set", setting, value };
  return [
    told("username", chap?.username),
    told("password", chap?.password),
    told("reverse-username", chap?.reverse?.username),
    told("reverse-password", chap?.reverse?.password),
  ];
}

/** Single-level addressing up to 255, flat addressing above. @source RFC 4173 §5; SAM-5 §4.7.7 */
function iscsiUrl({ host, port, lun, iqn }: IscsiVolume): string {
  return `iscsi:${host}::${port}:${(lun > 255 ? 0x4000 | lun : lun).toString(16)}:${iqn}`;
}

/** The commands, which go to `again` when they fail: the network or the appliance may be away for a moment. */
function againAndAgain(
  what: string,
  body: readonly IpxeCommand[],
  undo: readonly IpxeCommand[] = [],
): readonly IpxeCommand[] {
  return [
    { kind: "label", name: "load" },
    ...body,
    { kind: "label", name: "again" },
    { kind: "echo", text: `ironrack: ${what} did not load; trying again in 5 s` },
    ...undo,
    { kind: "wait", seconds: 5 },
    { kind: "go", label: "load" },
  ];
}

/**
 * For an iPXE that was not told its own script: the NIC that it booted from, then every other one.
 * @source Ironic drivers/modules/boot.ipxe
 */
export function entryScriptText(root: string): string {
  const nics = ["net0", "net1", "net2", "net3", "net4", "net5", "net6", "net7"];
  const tries: IpxeCommand[] = nics.flatMap((nic, at) => {
    const next = at + 1 < nics.length ? `try_${nics[at + 1]}` : "none";
    return [
      { kind: "label", name: `try_${nic}` },
      { kind: "isset", setting: `${nic}/mac`, orGo: next },
      { kind: "chain", url: `${root}/boot/\${${nic}/mac:hexhyp}.ipxe`, orGo: next },
    ];
  });
  return renderIpxeScript([
    { kind: "comment", text: "ironrack: finds the script of this machine" },
    { kind: "chain", url: `${root}/boot/\${mac:hexhyp}.ipxe`, orGo: "try_net0" },
    ...tries,
    { kind: "label", name: "none" },
    { kind: "exit", status: 1 },
  ]);
}
