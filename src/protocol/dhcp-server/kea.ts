import type { JsonObject } from "../../core/json.ts";
import { HTTP_CLIENT, type StaticBoot } from "./static-boot.ts";

const IPXE = "ironrack-ipxe";

/** What is to be merged into the configuration of kea-dhcp4. @source Kea 2.2 manual §8.2.10, §14.3 */
export function renderKea(boot: StaticBoot): string {
  return `${JSON.stringify({ Dhcp4: keaBoot(boot) }, null, 2)}\n`;
}

function keaBoot({ tftpServer, script, files }: StaticBoot): JsonObject {
  return {
    "option-def": [
      { name: IPXE, code: 175, space: "dhcp4", type: "empty", encapsulate: IPXE },
      { name: "http", code: 19, space: IPXE, type: "uint8" },
    ],
    "client-classes": [
      { name: IPXE, test: "option[175].option[19].exists", "boot-file-name": script },
      ...files.map(({ name, architectures, by, file }) => ({
        name: `ironrack-${name}`,
        test: `not member('${IPXE}') and (${architectures.map((one) => `option[93].hex == ${hex(one)}`).join(" or ")})`,
        ...(by === "tftp" ? { "next-server": tftpServer } : {}),
        "boot-file-name": file,
        ...(by === "http"
          ? { "option-data": [{ name: "vendor-class-identifier", data: HTTP_CLIENT, "always-send": true }] }
          : {}),
      })),
    ],
  };
}

function hex(architecture: number): string {
  return `0x${architecture.toString(16).padStart(4, "0")}`;
}
